//! The miner of one stream, as others use it: bodies and texts in, templates out.

use petrel_batch::EventTime;

use super::body::{Body, Reader};
use super::index::Slot;
use super::mine::Mine;
use super::numbers;
use super::repeats::{Place, Repeats};
use super::template::{CONTINUED, EMPTY, Origin, Template, TemplateId};
use super::{Change, TemplateHealth, TemplateLimits, TemplateRef};

/// Bytes of a text that came with its record; the rest is cut off.
const ADOPTED_BYTES_MAX: usize = 4096;
/// Records without a refusal after which a miner is healthy again.
const DEGRADED_RECORDS: u64 = 10_000;

/// Finds the templates of one stream.
///
/// Its results depend on the records in their order and on nothing else. Memory is bounded by
/// [`TemplateLimits`], about 1 to 2 KB a template. A body whose template is known costs one scan of
/// its first line and one look-up, and allocates nothing.
#[derive(Debug, Default)]
pub struct StreamMiner {
    reader: Reader,
    repeats: Repeats,
    pub(super) mine: Mine,
    last: Last,
}

/// How the last body got its template.
#[derive(Clone, Copy, Debug, Default)]
enum Last {
    /// It brought it along, or there was none yet.
    #[default]
    Adopted,
    /// The reader holds its tokens; it may have been entered for its repetitions.
    Read(Slot, Option<Place>),
    /// It was not read again.
    Repeated(Slot, Place),
}

impl StreamMiner {
    /// A miner that knows nothing.
    pub fn new(limits: TemplateLimits) -> Self {
        StreamMiner {
            reader: Reader::default(),
            repeats: Repeats::default(),
            mine: Mine {
                limits,
                ..Mine::default()
            },
            last: Last::Adopted,
        }
    }

    /// Returns the template of a body, created if it has to be. What happens to
    /// templates on the way is appended to `changes`, in that order.
    pub fn assign(
        &mut self,
        body: &str,
        time: EventTime,
        changes: &mut Vec<Change>,
    ) -> TemplateRef {
        let place = self.repeats.place(body, self.mine.n_records);
        let epoch = self.mine.index.epoch();
        if let Some(place) = place
            && let Some(slot) = self.repeats.find(place, epoch)
        {
            self.last = Last::Repeated(slot, place);
            return self.mine.seen(slot, time);
        }
        let n_refused = self.mine.n_refused;
        let slot = match self.reader.read(body) {
            Body::Line(reading) => self.mine.assign(&reading, time, changes),
            Body::Continued => self.mine.fixed(CONTINUED, time),
            Body::Empty => self.mine.fixed(EMPTY, time),
        };
        // What was refused may get a template of its own next time.
        let place = place.filter(|_| self.mine.n_refused == n_refused);
        self.last = Last::Read(slot, place);
        if let Some(place) = place {
            self.repeats.enter(place, slot, self.mine.index.epoch());
        }
        self.mine.seen(slot, time)
    }

    /// Returns the template of a record that brought it along (`log.record.template`): registered
    /// under its own text, cut at 4,096 bytes, and never generalised.
    pub fn adopt(&mut self, text: &str, time: EventTime, changes: &mut Vec<Change>) -> TemplateRef {
        let text = &text[..text.floor_char_boundary(ADOPTED_BYTES_MAX)];
        self.last = Last::Adopted;
        let slot = match self.mine.index.by_id(TemplateId::of(text)) {
            Some(slot) => slot,
            None if self.mine.may_create() => {
                let template = Template::new(text, Origin::Adopted, Vec::new(), time);
                self.mine.create(template, changes)
            }
            None => self.mine.refuse(time),
        };
        self.mine.seen(slot, time)
    }

    /// The template that a reference stands for; none once it has merged or been evicted.
    pub fn template(&self, template: TemplateRef) -> Option<&Template> {
        self.mine
            .index
            .get(template.slot)
            .filter(|found| found.id == template.id)
    }

    /// The live template with this id, or the one that it has merged into.
    pub fn find(&self, id: TemplateId) -> Option<&Template> {
        self.mine
            .index
            .get(self.mine.index.by_id(self.resolve(id))?)
    }

    /// The id that a template has now: another one once it has merged.
    pub fn resolve(&self, id: TemplateId) -> TemplateId {
        self.mine.aliases.resolve(id)
    }

    /// Live templates in the order of their creation.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.mine
            .index
            .in_order()
            .into_iter()
            .map(|(_, template)| template)
    }

    /// Like [`numbers`](super::numbers()) for the body last given to [`assign`](Self::assign), which
    /// must be passed again, without reading it anew.
    pub fn numbers_of_last(&mut self, body: &str, out: &mut Vec<f64>) -> bool {
        let (slot, place) = match self.last {
            Last::Adopted => return false,
            Last::Read(slot, place) => (slot, place),
            Last::Repeated(slot, place) => {
                if let Some(numbers) = self.repeats.numbers(place) {
                    out.extend_from_slice(numbers);
                    return true;
                }
                self.reader.read(body);
                (slot, Some(place))
            }
        };
        let (Some(template), Some(reading)) = (self.mine.index.get(slot), self.reader.last(body))
        else {
            return true;
        };
        let n_before = out.len();
        let is_mined = numbers::of_reading(&reading, template, out);
        if let Some(place) = place {
            self.repeats.keep_numbers(place, &out[n_before..]);
        }
        is_mined
    }

    /// How the stream's templates are doing.
    pub fn health(&self) -> TemplateHealth {
        let mine = &self.mine;
        let since_refused = mine.n_records - mine.last_refused;
        TemplateHealth {
            n_templates: mine.index.len(),
            n_keys: mine.index.n_keys(),
            n_aliases: mine.aliases.len(),
            n_records: mine.n_records,
            n_created: mine.n_created,
            n_refused: mine.n_refused,
            degraded: mine.last_refused > 0 && since_refused < DEGRADED_RECORDS,
        }
    }
}

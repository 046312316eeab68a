//! What most authors write: a detector of one stream at a time; tables, grouping, bounds and the order
//! of calls are done here.

use petrel_batch::{ColumnRequest, DataType, StreamId, names};
use serde::de::DeserializeOwned;

use crate::rows::{Grouping, STREAM_IDS_MAX};
use crate::{
    Batch, Descriptor, Detector, Fault, FaultKind, Findings, Outcome, Plan, Readiness, Rows,
    Template, TemplateId, Watermark, settings,
};

/// Series of one instance at most, over all its streams; the stream with most gives way.
pub const SERIES_INSTANCE_MAX: usize = 20_000;

/// A detector that knows one stream at a time; [`PerStream`] makes a [`Detector`] of it.
///
/// Answers must depend on the calls of one stream alone, in their order, and not on how its rows were
/// cut into calls of [`observe`](Self::observe).
pub trait StreamDetector: Sized {
    /// Name: lower case, digits and hyphens.
    const NAME: &str;
    /// Semantic version.
    const VERSION: &str;
    /// One sentence: what it finds.
    const SUMMARY: &str;
    /// Version of the bytes that [`save`](Self::save) returns.
    const STATE_VERSION: u32;

    /// Settings; derive `Deserialize` with `#[serde(default, deny_unknown_fields)]`.
    type Settings: DeserializeOwned + Default;
    /// What is learnt of one stream.
    type State;

    /// JSON Schema of the settings, with defaults.
    fn settings_schema() -> String;

    /// A detector under these settings.
    ///
    /// # Errors
    /// A text saying which setting is wrong and what is allowed.
    fn new(settings: Self::Settings) -> Result<Self, String>;

    /// Columns, kinds and window. The column `stream` need not be asked for.
    fn plan(&self) -> Plan;

    /// State of a stream never seen.
    fn start(&self) -> Self::State;

    /// A template that this instance meets for the first time in this stream.
    fn template(&self, _state: &mut Self::State, _template: &Template) {}

    /// From here on rows carry `target` where they carried `source`.
    fn merge(&self, _state: &mut Self::State, _source: TemplateId, _target: TemplateId) {}

    /// Learns from rows of the stream and judges them.
    fn observe(&self, state: &mut Self::State, rows: &Rows<'_>, out: &mut Findings);

    /// Judges what the watermark has made complete.
    fn advance(&self, state: &mut Self::State, watermark: Watermark, out: &mut Findings);

    /// How far the stream has been learnt, one for each kind.
    fn status(&self, state: &Self::State) -> Vec<Readiness>;

    /// State as bytes; the same state gives the same bytes. See [`crate::saved`].
    fn save(&self, state: &Self::State) -> Vec<u8>;

    /// State from bytes that this detector saved under a version.
    ///
    /// # Errors
    /// A text saying what is wrong with them.
    fn load(&self, version: u32, bytes: &[u8]) -> Result<Self::State, String>;

    /// Series that a state holds; counts towards [`SERIES_INSTANCE_MAX`].
    fn n_series(&self, _state: &Self::State) -> usize {
        0
    }

    /// Lets go of series until about `n_series_max` are left, least recently used first.
    fn shed(&self, _state: &mut Self::State, _n_series_max: usize) {}
}

/// A [`Detector`] of a [`StreamDetector`]: keeps a state a stream and calls it stream by stream.
#[derive(Debug)]
pub struct PerStream<D: StreamDetector> {
    configured: Option<Configured<D>>,
    /// By stream id, which is dense.
    streams: Vec<Option<Box<Stream<D::State>>>>,
    n_series: usize,
    grouping: Grouping,
}

#[derive(Debug)]
struct Configured<D> {
    detector: D,
    /// Where the column `stream` stands in a batch.
    stream_column: usize,
}

#[derive(Debug)]
struct Stream<S> {
    state: S,
    /// As last counted.
    n_series: usize,
}

impl<D: StreamDetector> Default for PerStream<D> {
    fn default() -> Self {
        Self {
            configured: None,
            streams: Vec::new(),
            n_series: 0,
            grouping: Grouping::default(),
        }
    }
}

impl<D: StreamDetector> PerStream<D> {
    fn configured(&self, call: &'static str) -> Result<&D, Fault> {
        self.configured
            .as_ref()
            .map(|configured| &configured.detector)
            .ok_or_else(|| not_configured(call))
    }

    fn stream(&self, stream: StreamId) -> Option<&Stream<D::State>> {
        self.streams.get(stream.0 as usize)?.as_deref()
    }
}

impl<D: StreamDetector> Detector for PerStream<D> {
    fn describe(&mut self) -> Result<Descriptor, Fault> {
        Ok(Descriptor {
            name: D::NAME.to_owned(),
            version: D::VERSION.to_owned(),
            summary: D::SUMMARY.to_owned(),
            settings_schema: D::settings_schema(),
            state_version: D::STATE_VERSION,
        })
    }

    fn configure(&mut self, settings: &str) -> Result<Plan, Fault> {
        let detector = settings::parse(settings)
            .and_then(D::new)
            .map_err(|message| Fault {
                call: "configure",
                kind: FaultKind::Settings,
                message,
            })?;
        let mut plan = detector.plan();
        let stream_column = plan
            .columns
            .iter()
            .position(|column| column.name == names::STREAM)
            .unwrap_or_else(|| {
                let request = ColumnRequest::new(names::STREAM, DataType::Uint32);
                plan.columns.push(request);
                plan.columns.len() - 1
            });
        *self = Self {
            configured: Some(Configured {
                detector,
                stream_column,
            }),
            ..Self::default()
        };
        Ok(plan)
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<Outcome, Fault> {
        let Some(configured) = &self.configured else {
            return Err(not_configured("observe"));
        };
        let detector = &configured.detector;
        let streams = &mut self.streams;
        for template in &batch.templates {
            if let Some(stream) = entry(detector, streams, template.stream) {
                detector.template(&mut stream.state, template);
            }
        }
        for merge in &batch.merges {
            if let Some(stream) = entry(detector, streams, merge.stream) {
                detector.merge(&mut stream.state, merge.source, merge.target);
            }
        }
        let mut findings = Findings::new();
        let ids = batch
            .columns
            .get(configured.stream_column)
            .map_or(&[][..], |column| column.uint32());
        for rows in self.grouping.split(batch, ids) {
            let Some(stream) = entry(detector, streams, rows.stream()) else {
                continue;
            };
            detector.observe(&mut stream.state, &rows, findings.of(rows.stream()));
            let counted = detector.n_series(&stream.state);
            self.n_series = (self.n_series + counted).saturating_sub(stream.n_series);
            stream.n_series = counted;
        }
        if self.n_series > SERIES_INSTANCE_MAX {
            self.n_series = shed(detector, streams);
        }
        Ok(findings.into_outcome())
    }

    fn advance(&mut self, watermarks: &[Watermark]) -> Result<Outcome, Fault> {
        let Some(configured) = &self.configured else {
            return Err(not_configured("advance"));
        };
        let mut findings = Findings::new();
        for watermark in watermarks {
            let index = watermark.stream.0 as usize;
            if let Some(Some(stream)) = self.streams.get_mut(index) {
                let out = findings.of(watermark.stream);
                configured
                    .detector
                    .advance(&mut stream.state, *watermark, out);
            }
        }
        Ok(findings.into_outcome())
    }

    fn status(&mut self, stream: StreamId) -> Result<Vec<Readiness>, Fault> {
        let detector = self.configured("status")?;
        Ok(match self.stream(stream) {
            Some(stream) => detector.status(&stream.state),
            None => detector.status(&detector.start()),
        })
    }

    fn save(&mut self, stream: StreamId) -> Result<Vec<u8>, Fault> {
        let detector = self.configured("save")?;
        Ok(self
            .stream(stream)
            .map(|stream| detector.save(&stream.state))
            .unwrap_or_default())
    }

    fn load(&mut self, stream: StreamId, version: u32, state: &[u8]) -> Result<(), Fault> {
        let detector = self.configured("load")?;
        if state.is_empty() {
            return self.forget(stream);
        }
        let refused = |message| Fault {
            call: "load",
            kind: FaultKind::State,
            message,
        };
        let state = detector.load(version, state).map_err(refused)?;
        let n_series = detector.n_series(&state);
        let index = stream.0 as usize;
        if index >= STREAM_IDS_MAX {
            return Err(refused(format!("stream {index} is over {STREAM_IDS_MAX}")));
        }
        self.forget(stream)?;
        if index >= self.streams.len() {
            self.streams.resize_with(index + 1, || None);
        }
        self.streams[index] = Some(Box::new(Stream { state, n_series }));
        self.n_series += n_series;
        Ok(())
    }

    fn forget(&mut self, stream: StreamId) -> Result<(), Fault> {
        if let Some(slot) = self.streams.get_mut(stream.0 as usize)
            && let Some(dropped) = slot.take()
        {
            self.n_series -= dropped.n_series.min(self.n_series);
        }
        Ok(())
    }
}

fn not_configured(call: &'static str) -> Fault {
    Fault {
        call,
        kind: FaultKind::Reply,
        message: "called before configure".to_owned(),
    }
}

/// The stream of an id, started where it is new; none where the id is out of contract.
fn entry<'s, D: StreamDetector>(
    detector: &D,
    streams: &'s mut Vec<Option<Box<Stream<D::State>>>>,
    stream: StreamId,
) -> Option<&'s mut Stream<D::State>> {
    let index = stream.0 as usize;
    if index >= STREAM_IDS_MAX {
        return None;
    }
    if index >= streams.len() {
        streams.resize_with(index + 1, || None);
    }
    Some(streams[index].get_or_insert_with(|| {
        Box::new(Stream {
            state: detector.start(),
            n_series: 0,
        })
    }))
}

/// Lets the streams with most series go down until the instance is within its bound; returns what is
/// left.
fn shed<D: StreamDetector>(detector: &D, streams: &mut [Option<Box<Stream<D::State>>>]) -> usize {
    let mut total: usize = streams.iter().flatten().map(|stream| stream.n_series).sum();
    while total > SERIES_INSTANCE_MAX {
        // Of equals the first, so that the choice is the same everywhere.
        let Some(largest) = streams
            .iter_mut()
            .flatten()
            .rev()
            .max_by_key(|stream| stream.n_series)
        else {
            break;
        };
        let before = largest.n_series;
        // A sixteenth at a time: not one search for each series that comes.
        detector.shed(&mut largest.state, before - before.div_ceil(16));
        largest.n_series = detector.n_series(&largest.state);
        if largest.n_series >= before {
            break;
        }
        total -= before - largest.n_series;
    }
    total
}

#[cfg(test)]
mod tests;

//! Saved miners: canonical bytes, version first, checksum last. Keys and siblings are not saved, they
//! follow from the templates.

use petrel_batch::EventTime;
use xxhash_rust::xxh3::xxh3_64;

use super::aliases::Alias;
use super::json;
use super::mine::Mine;
use super::miner::StreamMiner;
use super::template::{self, Origin, Template, TemplateId};
use super::token::{self, Kind, TOKENS_MAX, Token};
use super::{TemplateLimits, TemplateStateError};

const MAGIC: &[u8; 6] = b"PTRLTM";
/// Raised with every change of this format, of the scanner's rules or of what a template's text is.
const VERSION: u16 = 1;
const CHECKSUM_BYTES: usize = 8;

impl StreamMiner {
    /// All that the miner knows, as bytes: the same knowledge gives the same bytes.
    pub fn save(&self) -> Vec<u8> {
        let mine = &self.mine;
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        for count in [
            mine.n_records,
            mine.n_created,
            mine.n_refused,
            mine.last_refused,
        ] {
            write_number(&mut out, count);
        }
        let templates = mine.index.in_order();
        write_number(&mut out, templates.len() as u64);
        templates
            .iter()
            .for_each(|(_, template)| write_template(&mut out, template));
        write_number(&mut out, mine.aliases.len() as u64);
        for (source, alias) in mine.aliases.iter() {
            for number in [source.0, alias.target.0, alias.time.0] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// A miner that knows what was saved.
    ///
    /// # Errors
    /// [`TemplateStateError`] when the bytes are damaged, of another version or no miner at all.
    pub fn load(bytes: &[u8], limits: TemplateLimits) -> Result<Self, TemplateStateError> {
        let mut input = Input {
            rest: checked(bytes)?,
        };
        let mut miner = StreamMiner::new(limits);
        let mine = &mut miner.mine;
        mine.n_records = input.number()?;
        mine.n_created = input.number()?;
        mine.n_refused = input.number()?;
        mine.last_refused = input.number()?;
        if mine.last_refused > mine.n_records {
            return Err(TemplateStateError::Damaged("refusals beyond the records"));
        }
        for _ in 0..input.number()? {
            let template = input.template()?;
            if mine.index.by_id(template.id).is_some() {
                return Err(TemplateStateError::Damaged("a template twice"));
            }
            mine.index.add(template);
        }
        for _ in 0..input.number()? {
            input.alias(mine)?;
        }
        match input.rest {
            [] => Ok(miner),
            _ => Err(TemplateStateError::Damaged("bytes after the end")),
        }
    }
}

/// What stands between version and checksum, both of which must be right.
fn checked(bytes: &[u8]) -> Result<&[u8], TemplateStateError> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or(TemplateStateError::Foreign)?;
    let (version, _) = rest
        .split_first_chunk()
        .ok_or(TemplateStateError::Foreign)?;
    let version = u16::from_le_bytes(*version);
    if version != VERSION {
        return Err(TemplateStateError::Version {
            found: version,
            known: VERSION,
        });
    }
    let (content, checksum) = bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(TemplateStateError::Damaged("it ends early"))?;
    if xxh3_64(content) != u64::from_le_bytes(*checksum) {
        return Err(TemplateStateError::Damaged("the checksum differs"));
    }
    content
        .get(MAGIC.len() + 2..)
        .ok_or(TemplateStateError::Damaged("it ends early"))
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn write_template(out: &mut Vec<u8>, template: &Template) {
    out.push(match template.origin {
        Origin::Fixed => 0,
        Origin::Adopted => 1,
        Origin::Mined => 2,
        Origin::FreeText => 3,
    });
    for number in [
        template.n_records,
        template.first_seen.0,
        template.last_seen.0,
        template.learnt,
    ] {
        write_number(out, number);
    }
    if template.tokens.is_empty() {
        write_text(out, &template.text);
        return;
    }
    write_number(out, template.tokens.len() as u64);
    for token in &template.tokens {
        let kind = match token.kind {
            Kind::Word => 0,
            Kind::Variable => 1,
            Kind::Delimiter => 2,
            Kind::Dots => 3,
            Kind::Keys => 4,
        };
        out.push(kind | u8::from(token.space) << 7);
        if !matches!(token.kind, Kind::Variable | Kind::Dots) {
            write_text(out, &template.text[token.range()]);
        }
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], TemplateStateError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(TemplateStateError::Damaged("it ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, TemplateStateError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, TemplateStateError> {
        let mut number = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                break;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(TemplateStateError::Damaged("a number beyond 64 bits"))
    }

    fn fixed_number(&mut self) -> Result<u64, TemplateStateError> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(
            bytes.try_into().expect("eight bytes were taken"),
        ))
    }

    fn text(&mut self) -> Result<&'a str, TemplateStateError> {
        let length = usize::try_from(self.number()?)
            .map_err(|_| TemplateStateError::Damaged("it ends early"))?;
        std::str::from_utf8(self.take(length)?)
            .map_err(|_| TemplateStateError::Damaged("text that is not UTF-8"))
    }

    fn template(&mut self) -> Result<Template, TemplateStateError> {
        let origin = match self.byte()? {
            0 => Origin::Fixed,
            1 => Origin::Adopted,
            2 => Origin::Mined,
            3 => Origin::FreeText,
            _ => return Err(TemplateStateError::Damaged("an unknown origin")),
        };
        let [n_records, first_seen, last_seen, learnt] = [
            self.number()?,
            self.number()?,
            self.number()?,
            self.number()?,
        ];
        let mut template = match origin {
            Origin::Fixed | Origin::Adopted => {
                Template::new(self.text()?, origin, Vec::new(), EventTime(first_seen))
            }
            Origin::Mined | Origin::FreeText => {
                let (text, tokens) = self.tokens()?;
                Template::new(&text, origin, tokens, EventTime(first_seen))
            }
        };
        (template.n_records, template.last_seen, template.learnt) =
            (n_records, EventTime(last_seen), learnt);
        let is_learnt = |place: usize| {
            template
                .tokens
                .get(place)
                .is_some_and(|token| token.kind == Kind::Variable)
        };
        if !token::bits(learnt).all(is_learnt) {
            return Err(TemplateStateError::Damaged(
                "a learnt place without a variable",
            ));
        }
        Ok(template)
    }

    fn tokens(&mut self) -> Result<(String, Vec<Token>), TemplateStateError> {
        let n_tokens = self.number()?;
        if n_tokens == 0 || n_tokens > TOKENS_MAX as u64 {
            return Err(TemplateStateError::Damaged(
                "a template without tokens, or with too many",
            ));
        }
        let mut read: Vec<(Token, &str)> = Vec::new();
        for _ in 0..n_tokens {
            read.push(self.token()?);
        }
        let mut tokens: Vec<Token> = read.iter().map(|(token, _)| *token).collect();
        // Each token's text is found by its index, which it carries as its span for a moment.
        for (index, token) in tokens.iter_mut().enumerate() {
            token.start = index as u32;
        }
        let text = template::render(&mut tokens, |token| read[token.start as usize].1.into());
        Ok((text, tokens))
    }

    fn token(&mut self) -> Result<(Token, &'a str), TemplateStateError> {
        let head = self.byte()?;
        let space = head & 0x80 != 0;
        let text = match head & 0x7f {
            1 => return Ok((Token::variable(0, 0, space), token::VARIABLE)),
            3 => {
                return Ok((
                    Token::new(Kind::Dots, token::DOTS_HASH, 0, 0, space),
                    token::DOTS,
                ));
            }
            _ => self.text()?,
        };
        let (kind, hash) = match head & 0x7f {
            0 => (Kind::Word, token::hash_text(text.as_bytes())),
            2 => (Kind::Delimiter, token::hash_text(text.as_bytes())),
            4 => (Kind::Keys, json::keys_text_hash(text)),
            _ => return Err(TemplateStateError::Damaged("an unknown kind of token")),
        };
        Ok((Token::new(kind, hash, 0, 0, space), text))
    }

    fn alias(&mut self, mine: &mut Mine) -> Result<(), TemplateStateError> {
        let [source, target, time] = [
            self.fixed_number()?,
            self.fixed_number()?,
            self.fixed_number()?,
        ];
        let (source, target) = (TemplateId(source), TemplateId(target));
        if mine.index.by_id(source).is_some()
            || !mine.aliases.insert(
                source,
                Alias {
                    target,
                    time: EventTime(time),
                },
            )
        {
            return Err(TemplateStateError::Damaged(
                "an alias of a live template, or one twice",
            ));
        }
        Ok(())
    }
}

//! From the text of a story to its lines.

use super::{DAY, Every, Line, Merge, Rate, Story, Value};

pub(super) fn parse(text: &str) -> Story {
    let mut story = Story {
        lines: Vec::new(),
        merges: Vec::new(),
        gaps: Vec::new(),
        streams: vec![String::new()],
        end: 0,
        seed: 1,
    };
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        read(&mut story, &words).unwrap_or_else(|| panic!("cannot read the story at: {line}"));
    }
    story
}

fn read(story: &mut Story, words: &[&str]) -> Option<()> {
    match *words {
        ["gap", at] => story.gaps.push(span(at)?),
        ["merge", source, target, "at", at] => story.merges.push(Merge {
            at: duration(at)?,
            source: source.to_owned(),
            target: target.to_owned(),
        }),
        [at, name, how_often, ref rest @ ..] => {
            let (stream, template) = name.split_once(':').unwrap_or(("", name));
            let mut line = Line {
                stream: stream_number(&mut story.streams, stream),
                template: template.to_owned(),
                span: span(at)?,
                rate: rate(how_often)?,
                every: None,
                late: 0,
                values: Vec::new(),
            };
            more(&mut line, rest)?;
            story.end = story.end.max(line.span.1);
            story.lines.push(line);
        }
        _ => return None,
    }
    Some(())
}

fn more(line: &mut Line, words: &[&str]) -> Option<()> {
    match *words {
        [] => {}
        ["every", period, "at", at, "for", length, ref rest @ ..] => {
            line.every = Some(Every {
                period: duration(period)?,
                at: duration(at)?,
                length: duration(length)?,
            });
            more(line, rest)?;
        }
        [word, ref rest @ ..] => {
            match word.split_once('=')? {
                ("late", by) => line.late = duration(by)?,
                (key, text) => line.values.push((key.to_owned(), value(text))),
            }
            more(line, rest)?;
        }
    }
    Some(())
}

fn stream_number(streams: &mut Vec<String>, name: &str) -> u32 {
    let index = streams.iter().position(|known| known == name);
    index.unwrap_or_else(|| {
        streams.push(name.to_owned());
        streams.len() - 1
    }) as u32
}

fn span(text: &str) -> Option<(u64, u64)> {
    let (from, to) = text.split_once("..")?;
    Some((duration(from)?, duration(to)?))
}

/// Seconds from a text as `1d3h30m`; `0` is 0.
pub(super) fn duration(text: &str) -> Option<u64> {
    let (mut seconds, mut number) = (0, String::new());
    for c in text.chars() {
        let unit = match c {
            'd' => DAY,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            digit => {
                number.push(digit);
                continue;
            }
        };
        seconds += number.parse::<u64>().ok()? * unit;
        number.clear();
    }
    (number.is_empty() || text == "0").then_some(seconds)
}

fn rate(text: &str) -> Option<Rate> {
    let (text, noisy) = match text.strip_prefix('~') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (numbers, unit) = text.split_once('/')?;
    let seconds = match unit {
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let (low, high) = numbers.split_once("..").unwrap_or((numbers, numbers));
    Some(Rate {
        low: low.parse::<f64>().ok()? / seconds,
        high: high.parse::<f64>().ok()? / seconds,
        noisy,
    })
}

fn value(text: &str) -> Value {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    match (low.parse(), high.parse()) {
        (Ok(low), Ok(high)) => Value::Range(low, high),
        _ => Value::Text(text.to_owned()),
    }
}

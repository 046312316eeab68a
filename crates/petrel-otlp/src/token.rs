//! Bearer tokens: checked on the way in, sent on the way out, read anew when their files change.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use subtle::{Choice, ConstantTimeEq};

use crate::reload::Reloading;
use crate::security::{BearerAuth, Secret, SecurityError, Source};
use crate::status::{Code, Refusal};

const WHAT: &str = "bearer token";
/// How often files of tokens are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// A token is compared in steps of so many bytes, whatever its length.
const COMPARED_STEP: usize = 256;

/// The tokens of one [`BearerAuth`].
pub(crate) struct Tokens {
    header: HeaderName,
    scheme: String,
    tokens: Reloading<Vec<Secret>>,
}

impl Tokens {
    /// Tokens that must be there now, for checking.
    pub(crate) fn checked(auth: &BearerAuth) -> Result<Self, SecurityError> {
        let tokens = Self::later(auth)?;
        tokens.tokens.get()?;
        Ok(tokens)
    }

    /// Tokens that may come later, for sending.
    pub(crate) fn later(auth: &BearerAuth) -> Result<Self, SecurityError> {
        let header = auth.header.parse().map_err(|_| SecurityError::Invalid {
            what: "header of the bearer token",
            place: format!("{:?}", auth.header),
            reason: "it is no header name".to_owned(),
        })?;
        let paths: Vec<PathBuf> = auth.tokens.iter().filter_map(Source::path).collect();
        let sources = auth.tokens.clone();
        Ok(Self {
            header,
            scheme: auth.scheme.clone(),
            tokens: Reloading::lazy(WHAT, paths, RELOAD_INTERVAL, move || read(&sources)),
        })
    }

    /// Whether headers have one of the tokens.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let refused = |message: &str| Refusal::new(Code::Unauthenticated, message);
        let Some(value) = headers.get(&self.header) else {
            let message = format!("the header {} with a token is missing", self.header);
            return Err(refused(&message));
        };
        let presented = self.after_scheme(value.as_bytes()).ok_or_else(|| {
            refused(&format!(
                "the header {} does not begin with {}",
                self.header, self.scheme
            ))
        })?;
        let tokens = self.tokens.get().map_err(|error| {
            tracing::error!(%error, "requests cannot be checked");
            refused("no token is known")
        })?;
        // Each is compared, so that time does not tell which one was near.
        let matches = tokens.iter().fold(Choice::from(0), |matches, token| {
            matches | is_same(token.expose().as_bytes(), presented)
        });
        if bool::from(matches) {
            Ok(())
        } else {
            Err(refused("the token is not known"))
        }
    }

    /// What a client that was refused is told to send.
    pub(crate) fn challenge(&self) -> HeaderValue {
        HeaderValue::from_str(&self.scheme)
            .ok()
            .filter(|scheme| !scheme.is_empty())
            .unwrap_or(HeaderValue::from_static("Bearer"))
    }

    /// The header to send.
    pub(crate) fn header(&self) -> Result<(HeaderName, HeaderValue), SecurityError> {
        let tokens = self.tokens.get()?;
        let token = tokens.first().map_or("", Secret::expose);
        let text = match self.scheme.as_str() {
            "" => token.to_owned(),
            scheme => format!("{scheme} {token}"),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| SecurityError::Invalid {
            what: WHAT,
            place: format!("for the header {}", self.header),
            reason: "it has characters that a header cannot have".to_owned(),
        })?;
        value.set_sensitive(true);
        Ok((self.header.clone(), value))
    }

    fn after_scheme<'a>(&self, value: &'a [u8]) -> Option<&'a [u8]> {
        let n_bytes = self.scheme.len();
        if n_bytes == 0 {
            return Some(value);
        }
        let (scheme, rest) = value.split_at_checked(n_bytes)?;
        let token = rest.strip_prefix(b" ")?;
        scheme
            .eq_ignore_ascii_case(self.scheme.as_bytes())
            .then_some(token.trim_ascii())
    }
}

/// Compares in a time that tells the length of `token` in steps at most.
fn is_same(token: &[u8], presented: &[u8]) -> Choice {
    let width = token.len().div_ceil(COMPARED_STEP) * COMPARED_STEP;
    let padded = |bytes: &[u8]| {
        let mut padded = vec![0; width];
        let n_bytes = bytes.len().min(width);
        padded[..n_bytes].copy_from_slice(&bytes[..n_bytes]);
        padded
    };
    padded(token).ct_eq(&padded(presented)) & token.len().ct_eq(&presented.len())
}

fn read(sources: &[Source]) -> Result<Vec<Secret>, SecurityError> {
    let mut tokens = Vec::new();
    for source in sources {
        let bytes = source.read(WHAT)?;
        let text = String::from_utf8(bytes).map_err(|_| source.invalid(WHAT, "it is no text"))?;
        let before = tokens.len();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        tokens.extend(lines.map(Secret::new));
        if tokens.len() == before {
            return Err(source.invalid(WHAT, "it is empty"));
        }
    }
    if tokens.is_empty() {
        return Err(SecurityError::Invalid {
            what: WHAT,
            place: "in the configuration".to_owned(),
            reason: "there is none".to_owned(),
        });
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_checked() {
        let check = |scheme: &str, presented: &str, expected: bool| {
            let text = |text: &str| Source::Text(Secret::new(text));
            let long = "x".repeat(300);
            let tokens = Tokens::checked(&BearerAuth {
                header: "authorization".to_owned(),
                scheme: scheme.to_owned(),
                tokens: vec![text("first\n second \n"), text(&long)],
            })
            .expect("tokens");
            let mut headers = HeaderMap::new();
            headers.insert("authorization", presented.parse().expect("a header"));
            assert_eq!(tokens.check(&headers).is_ok(), expected, "{presented}");
            let missing = tokens.check(&HeaderMap::new()).expect_err("missing");
            assert_eq!(missing.code, Code::Unauthenticated);
        };
        check("Bearer", "Bearer first", true);
        check("Bearer", "bearer second", true);
        check("Bearer", &format!("Bearer {}", "x".repeat(300)), true);
        check("Bearer", &format!("Bearer {}", "x".repeat(299)), false);
        check("Bearer", &format!("Bearer {}", "x".repeat(3000)), false);
        check("Bearer", "Bearer firs", false);
        check("Bearer", "Bearer first\u{20}second", false);
        check("Bearer", "Bearer", false);
        check("Bearer", "first", false);
        check("", "first", true);
        check("", "Bearer first", false);
    }
}

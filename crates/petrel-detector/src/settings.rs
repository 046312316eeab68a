//! From the settings of the configuration file to an author's struct.

use serde::de::DeserializeOwned;

/// Bytes of settings at most (`detector.wit`, `configure`).
const SETTINGS_BYTES_MAX: usize = 64 << 10;

/// Settings from a JSON object; empty text is an empty object.
///
/// Authors derive `Deserialize` with `#[serde(default, deny_unknown_fields)]`, so that an unknown key
/// is an error that names what is allowed.
///
/// # Errors
/// A text saying which setting is wrong.
pub(crate) fn parse<T: DeserializeOwned + Default>(settings: &str) -> Result<T, String> {
    if settings.len() > SETTINGS_BYTES_MAX {
        return Err(format!(
            "settings of {} bytes are over {SETTINGS_BYTES_MAX}",
            settings.len()
        ));
    }
    if settings.trim().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_str(settings).map_err(|error| error.to_string())
}

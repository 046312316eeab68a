//! What can be set, and its schema.

use serde::Deserialize;
use serde_json::json;

/// Settings of the detector.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Silences shorter than this do not matter, in seconds.
    pub floor: f64,
    /// Gaps that a source needs before it is judged.
    pub gaps_min: u64,
    /// How often a day a source is expected to pause for no reason of its own rhythm: restarts,
    /// rotations, hiccups on the way here.
    pub pauses_per_day: f64,
    /// How long such a pause is on average, in seconds.
    pub pause: f64,
    /// The same where the last records said that the program was about to end.
    pub planned_pause: f64,
    /// Whether hourly and daily jobs are watched that come at the same time on each visit.
    pub appointments: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            floor: 60.0,
            gaps_min: 200,
            pauses_per_day: 0.2,
            pause: 25.0,
            planned_pause: 300.0,
            appointments: true,
        }
    }
}

impl Settings {
    /// The first thing that is wrong, if any.
    pub(crate) fn check(&self) -> Result<(), String> {
        let at_least = |name: &str, value: f64, least: f64| {
            if value >= least && value.is_finite() {
                Ok(())
            } else {
                Err(format!("{name}: {value} is not {least} or more"))
            }
        };
        at_least("floor", self.floor, 1.0)?;
        at_least("pauses_per_day", self.pauses_per_day, 0.0)?;
        at_least("pause", self.pause, 1.0)?;
        at_least("planned_pause", self.planned_pause, 1.0)?;
        if self.gaps_min < 50 {
            return Err(format!("gaps_min: {} is below 50", self.gaps_min));
        }
        Ok(())
    }

    /// JSON Schema with defaults.
    pub(crate) fn schema() -> String {
        let default = Self::default();
        let seconds = |description: &str, default: f64| json!({"description": description, "type": "number", "minimum": 1, "default": default});
        let switch = |description: &str, default: bool| json!({"description": description, "type": "boolean", "default": default});
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Settings of the silence detector",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "floor": seconds("Silences shorter than this do not matter, in seconds.", default.floor),
                "gaps_min": {
                    "description": "Gaps between records that a source needs before it is judged.",
                    "type": "integer", "minimum": 50, "default": default.gaps_min,
                },
                "pauses_per_day": {
                    "description": "How often a day a source is expected to pause for no reason of its own rhythm, as for a restart.",
                    "type": "number", "minimum": 0, "default": default.pauses_per_day,
                },
                "pause": seconds("How long such a pause is on average, in seconds. Longer pauses get unlikely exponentially.", default.pause),
                "planned_pause": seconds("The same where the last records said that the program was about to end.", default.planned_pause),
                "appointments": switch("Watch hourly and daily jobs that come at the same time on each visit.", default.appointments),
            },
        })
        .to_string()
    }
}

//! A detector that misbehaves: its settings name the call and the deed. Until that call it is honest,
//! so that each test meets one thing alone.
//!
//! `deeds` has what any call can do, `replies` what a call can answer.

mod deeds;
mod replies;

use petrel_detector::{
    Batch, Descriptor, Detector, Fault, Outcome, Plan, Readiness, StreamId, Watermark,
};

petrel_detector::export!(Evil);

/// Which call does what; without settings it does nothing evil.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Name of the call.
    call: String,
    /// Name of a deed or of a reply.
    deed: String,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Evil {
    settings: Settings,
}

impl Evil {
    /// Does the deed if it is this call's; the deed's name for what the reply is to be.
    fn turn(&self, call: &str) -> &str {
        if self.settings.call == call {
            deeds::run(&self.settings.deed);
            &self.settings.deed
        } else {
            ""
        }
    }
}

impl Detector for Evil {
    fn describe(&mut self) -> Result<Descriptor, Fault> {
        Ok(replies::descriptor(self.turn("describe")))
    }

    fn configure(&mut self, settings: &str) -> Result<Plan, Fault> {
        self.settings = serde_json::from_str(settings).expect("tests send what can be read");
        Ok(replies::plan(self.turn("configure")))
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<Outcome, Fault> {
        Ok(replies::outcome(self.turn("observe"), batch.rows))
    }

    fn advance(&mut self, _: &[Watermark]) -> Result<Outcome, Fault> {
        Ok(replies::outcome(self.turn("advance"), 0))
    }

    fn status(&mut self, _: StreamId) -> Result<Vec<Readiness>, Fault> {
        Ok(replies::readiness(self.turn("status")))
    }

    fn save(&mut self, _: StreamId) -> Result<Vec<u8>, Fault> {
        Ok(replies::state(self.turn("save")))
    }

    fn load(&mut self, _: StreamId, _: u32, _: &[u8]) -> Result<(), Fault> {
        self.turn("load");
        Ok(())
    }

    fn forget(&mut self, _: StreamId) -> Result<(), Fault> {
        self.turn("forget");
        Ok(())
    }
}

//! Settings that change while servers run: built first, then swapped.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::ReceiveSettings;
use crate::reload::Reloading;
use crate::security::SecurityError;
use crate::tls::{ServerConfigs, server_configs};
use crate::token::Tokens;

/// The settings of running servers. Requests go by those of the moment, connections by those of the
/// moment when they began: what stands is not cut.
pub struct LiveReceive {
    loaded: ArcSwap<Loaded>,
    changed: watch::Sender<()>,
}

/// Settings, and what was read of the files that they name.
pub(super) struct Loaded {
    pub(super) settings: ReceiveSettings,
    pub(super) tls: Option<Reloading<ServerConfigs>>,
    pub(super) tokens: Option<Tokens>,
}

impl LiveReceive {
    /// Reads certificates and tokens.
    ///
    /// # Errors
    /// [`SecurityError`] when one of them cannot be used.
    pub fn new(settings: ReceiveSettings) -> Result<Arc<Self>, SecurityError> {
        Ok(Arc::new(Self {
            loaded: ArcSwap::from_pointee(Loaded::new(settings)?),
            changed: watch::Sender::new(()),
        }))
    }

    /// Puts other settings in their place.
    ///
    /// # Errors
    /// [`SecurityError`] when a certificate or a token cannot be used; then nothing has changed.
    pub fn replace(&self, settings: ReceiveSettings) -> Result<(), SecurityError> {
        self.loaded.store(Arc::new(Loaded::new(settings)?));
        self.changed.send_replace(());
        Ok(())
    }

    pub(super) fn load(&self) -> Guard<Arc<Loaded>> {
        self.loaded.load()
    }

    /// Hears when settings are replaced.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

impl Loaded {
    fn new(settings: ReceiveSettings) -> Result<Self, SecurityError> {
        Ok(Self {
            tls: settings.tls.as_ref().map(server_configs).transpose()?,
            tokens: settings.auth.as_ref().map(Tokens::checked).transpose()?,
            settings,
        })
    }
}

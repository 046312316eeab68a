//! Buffers that are used again: a request of half a megabyte in fresh memory costs a page fault for
//! every 4 KiB of it, a twentieth of all CPU.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers kept for the next requests; what comes back beyond that is freed.
const KEPT_MAX: usize = 16;
/// Largest buffer that is kept: 2 MiB. With [`KEPT_MAX`] this bounds what lies idle to 32 MiB.
const KEPT_BYTES_MAX: usize = 2 << 20;

/// Where buffers come from and go back to when the last view of their bytes is dropped. Clones share
/// them.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Buffers {
    /// An empty buffer with room for `n_bytes`.
    pub(crate) fn take(&self, n_bytes: usize) -> Vec<u8> {
        let kept = self.lock(Vec::pop);
        match kept {
            Some(mut buffer) if buffer.capacity() >= n_bytes => {
                buffer.clear();
                buffer
            }
            // Not by `reserve`, which doubles what it has; with some room for the next one, about as large.
            _ => Vec::with_capacity(n_bytes + n_bytes / 8),
        }
    }

    /// The bytes of a buffer; it comes back when nobody holds them any more.
    pub(crate) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() > KEPT_BYTES_MAX {
            return Bytes::from(buffer);
        }
        Bytes::from_owner(Lent {
            buffer,
            buffers: self.clone(),
        })
    }

    fn lock<T>(&self, with: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> T {
        with(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Lent {
    buffer: Vec<u8>,
    buffers: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.buffers.lock(|kept| {
            if kept.len() < KEPT_MAX {
                kept.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_within_the_bounds() {
        let buffers = Buffers::default();
        let mut large = buffers.take(KEPT_BYTES_MAX + 1);
        large.push(1);
        drop(buffers.lend(large));
        assert_eq!(buffers.lock(|kept| kept.len()), 0);
        let lent: Vec<Bytes> = (0..KEPT_MAX as u8 + 5)
            .map(|byte| {
                let mut buffer = buffers.take(100);
                buffer.extend([byte; 100]);
                buffers.lend(buffer)
            })
            .collect();
        assert!(
            (0..)
                .zip(&lent)
                .all(|(byte, bytes)| bytes[..] == [byte; 100])
        );
        drop(lent);
        assert_eq!(buffers.lock(|kept| kept.len()), KEPT_MAX);
        let again = buffers.take(50);
        assert!(again.is_empty() && again.capacity() >= 100);
    }
}

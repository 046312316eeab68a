//! Changing what runs while requests pass: every worker builds and checks, then all swap or none.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use petrel_engine::{DetectorSpec, Worker};
use tokio::sync::{mpsc, oneshot};

use super::Analysis;
use crate::counting;
use crate::detectors::Desired;

impl Analysis {
    /// Brings about what is desired, between two requests of each worker.
    ///
    /// # Errors
    /// What is wrong with the new detector; what ran goes on.
    pub async fn change(&self, desired: Desired) -> Result<(), String> {
        match desired {
            Desired::Runs { name, spec, .. } => {
                let is_running = self.is_running(&name);
                let step = spec.clone();
                if is_running {
                    self.in_all(move |worker| replacing(worker, step.clone()))
                        .await?;
                } else {
                    let is_off = self.disabled_detectors().contains(&name);
                    self.in_all(move |worker| adding(worker, step.clone(), is_off))
                        .await?;
                }
                self.roster
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .detectors
                    .insert(name, spec);
            }
            Desired::Ends { name } if self.is_running(&name) => {
                let gone = name.clone();
                self.in_all(move |_| removing(gone.clone())).await?;
                self.roster
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .detectors
                    .remove(&name);
            }
            Desired::Ends { .. } => {}
        }
        Ok(())
    }

    /// Switches a detector off, or on again, between two requests of each worker. It keeps what it
    /// knows; the time it was off counts as missing input. Outlives restarts, where state is kept.
    ///
    /// # Errors
    /// When none of that name runs.
    pub async fn set_detector_enabled(&self, name: &str, is_enabled: bool) -> Result<(), String> {
        if !self.is_running(name) {
            let mut roster = self.roster.write().unwrap_or_else(PoisonError::into_inner);
            // One that was switched off and is configured no more.
            return match is_enabled && roster.disabled.remove(name) {
                true => Ok(()),
                false => Err(format!("no detector {name} is running")),
            };
        }
        {
            // First, so that a worker that is made anew meanwhile knows it too.
            let mut roster = self.roster.write().unwrap_or_else(PoisonError::into_inner);
            if is_enabled {
                roster.disabled.remove(name);
            } else {
                roster.disabled.insert(name.to_owned());
            }
        }
        let mut change = None;
        for worker in 0..self.n_workers() {
            let name = name.to_owned();
            let changed = self.workers.control(worker, move |worker| {
                worker.set_detector_enabled(&name, is_enabled)
            });
            if let Some(Ok(Some(changed))) = changed.await {
                change = Some(changed);
            }
        }
        // Said once, not once a worker.
        counting::health(change.as_slice());
        Ok(())
    }

    /// The detectors that are switched off.
    #[must_use]
    pub fn disabled_detectors(&self) -> BTreeSet<String> {
        let roster = self.roster.read().unwrap_or_else(PoisonError::into_inner);
        roster.disabled.clone()
    }

    fn is_running(&self, name: &str) -> bool {
        self.roster
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .detectors
            .contains_key(name)
    }

    /// Runs the first half of a change in every worker, which then waits; if all halves succeed the
    /// second half follows in all, else in none.
    async fn in_all<F>(&self, prepare: F) -> Result<(), String>
    where
        F: Fn(&mut Worker) -> Result<SecondHalf, String> + Clone + Send + 'static,
    {
        let n_workers = self.n_workers();
        let (votes, mut count) = mpsc::channel(n_workers);
        let mut decisions = Vec::new();
        let mut controls = Vec::new();
        for worker in 0..n_workers {
            let (decide, decision) = oneshot::channel::<()>();
            let (prepare, votes) = (prepare.clone(), votes.clone());
            decisions.push(decide);
            controls.push(self.workers.control(worker, move |worker| {
                let prepared = prepare(worker);
                // The channel has room for every vote.
                let vote = prepared.as_ref().map(|_| ()).map_err(Clone::clone);
                let _ = votes.try_send(vote);
                // Whoever counts must see that a vote is missing, not wait for it.
                drop(votes);
                if let (Ok(second_half), Ok(())) = (prepared, decision.blocking_recv()) {
                    second_half(worker);
                }
            }));
        }
        drop(votes);
        let deciding = async move {
            for _ in 0..n_workers {
                count
                    .recv()
                    .await
                    .unwrap_or_else(|| Err("a worker is gone".to_owned()))?;
            }
            // A worker that is gone has nothing to decide about.
            for decide in decisions {
                let _ = decide.send(());
            }
            Ok(())
        };
        let (decided, ()) = tokio::join!(deciding, join_all(controls));
        decided
    }
}

type SecondHalf = Box<dyn FnOnce(&mut Worker)>;

fn replacing(worker: &mut Worker, spec: DetectorSpec) -> Result<SecondHalf, String> {
    let prepared = worker.prepare(spec).map_err(|error| error.to_string())?;
    Ok(Box::new(move |worker| drop(worker.commit(prepared))))
}

/// A detector that cannot be built is found by building it; adding it then takes place in all workers.
fn adding(worker: &mut Worker, spec: DetectorSpec, is_off: bool) -> Result<SecondHalf, String> {
    let name = worker
        .add(spec.clone())
        .map_err(|error| error.to_string())?
        .name;
    // Taken out again until all workers have shown that they can: it has learnt nothing yet.
    worker.remove(&name).map_err(|error| error.to_string())?;
    Ok(Box::new(move |worker| {
        let added = worker.add(spec);
        let switched = added.and_then(|_| worker.set_detector_enabled(&name, !is_off));
        if let Err(error) = switched {
            tracing::error!(%error, "a detector that could be built a moment ago could not be added");
        }
    }))
}

fn removing(name: String) -> Result<SecondHalf, String> {
    Ok(Box::new(move |worker| {
        if let Err(error) = worker.remove(&name) {
            tracing::warn!(%error, "a detector was not there to be taken out");
        }
    }))
}

async fn join_all<F: Future<Output = Option<()>>>(futures: Vec<F>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

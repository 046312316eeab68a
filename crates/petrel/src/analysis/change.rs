//! Changing what runs while requests pass: every worker builds and checks, then all swap or none.

use std::sync::PoisonError;

use petrel_engine::{DetectorSpec, Worker};
use tokio::sync::{mpsc, oneshot};

use super::Analysis;
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
                    self.in_all(move |worker| adding(worker, step.clone()))
                        .await?;
                }
                self.roster
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(name, spec);
            }
            Desired::Ends { name } if self.is_running(&name) => {
                let gone = name.clone();
                self.in_all(move |_| removing(gone.clone())).await?;
                self.roster
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&name);
            }
            Desired::Ends { .. } => {}
        }
        Ok(())
    }

    fn is_running(&self, name: &str) -> bool {
        self.roster
            .read()
            .unwrap_or_else(PoisonError::into_inner)
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
fn adding(worker: &mut Worker, spec: DetectorSpec) -> Result<SecondHalf, String> {
    let name = worker
        .add(spec.clone())
        .map_err(|error| error.to_string())?
        .name;
    // Taken out again until all workers have shown that they can: it has learnt nothing yet.
    worker.remove(&name).map_err(|error| error.to_string())?;
    Ok(Box::new(move |worker| {
        if let Err(error) = worker.add(spec) {
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

//! Nothing but tests: whether the files of `deploy/` are what Kubernetes and Petrel understand.

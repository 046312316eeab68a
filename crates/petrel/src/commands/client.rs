//! One request to the admin endpoint, one answer.

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde_json::Value;

use crate::admin::ANSWER_WITHIN;

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A client of one admin endpoint.
pub(super) struct Client {
    base: String,
    runtime: tokio::runtime::Runtime,
}

/// What the endpoint says.
pub(super) enum Answer {
    /// It was done; JSON.
    Done(Value),
    /// It was not, and why.
    Refused(String),
}

impl Client {
    pub(super) fn new(endpoint: &str) -> anyhow::Result<Self> {
        let base = match endpoint.starts_with("http://") {
            true => endpoint.trim_end_matches('/').to_owned(),
            false => format!("http://{endpoint}"),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the runtime")?;
        Ok(Self { base, runtime })
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.ask(Method::GET, path, Bytes::new())
    }

    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> anyhow::Result<Answer> {
        self.ask(Method::POST, path, serde_json::to_vec(body)?.into())
    }

    fn ask(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let asking = async {
            let client = HttpClient::builder(TokioExecutor::new()).build_http();
            let response = client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let body = body
                .collect()
                .await
                .map_err(|error| anyhow::anyhow!(error))?;
            anyhow::Ok((status, body.to_bytes()))
        };
        let answered = self
            .runtime
            .block_on(async { tokio::time::timeout(ANSWER_WITHIN, asking).await });
        let (status, body) = answered.context("no answer in time")??;
        let value: Value = serde_json::from_slice(&body)
            .with_context(|| format!("the answer ({status}) is no JSON: is this Petrel?"))?;
        if status == StatusCode::OK {
            return Ok(Answer::Done(value));
        }
        let detail = value["detail"].as_str().unwrap_or_default();
        Ok(Answer::Refused(format!("{status}: {detail}")))
    }
}

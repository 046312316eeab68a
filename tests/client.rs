//! Clients that send bytes as they are, so that a test can send what no SDK would.

use bytes::{Buf, BufMut, Bytes};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// The path of OTLP's only method for logs.
pub(crate) const EXPORT_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// A gRPC codec that neither encodes nor decodes.
#[derive(Clone, Copy, Default)]
pub(crate) struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}

/// One gRPC connection to an OTLP receiver; its clones use the same one.
#[derive(Clone)]
pub(crate) struct Grpc {
    inner: tonic::client::Grpc<Channel>,
}

impl Grpc {
    /// Connects when first used, and again when the connection was lost.
    pub(crate) fn new(address: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("host:port");
        Self {
            inner: tonic::client::Grpc::new(endpoint.connect_lazy()),
        }
    }

    /// The same, sending gzip; a Go server then answers in gzip too.
    pub(crate) fn gzip(address: &str) -> Self {
        let Self { inner } = Self::new(address);
        Self {
            inner: inner
                .send_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Gzip),
        }
    }

    /// Sends the bytes of an export request.
    pub(crate) async fn send(&mut self, body: Bytes) -> Result<ExportLogsServiceResponse, Status> {
        let answer = self.call(EXPORT_PATH, &[], body).await?;
        ExportLogsServiceResponse::decode(answer)
            .map_err(|error| Status::internal(format!("the answer is no response: {error}")))
    }

    /// Sends bytes to a method, with these headers; the bytes of the answer.
    pub(crate) async fn call(
        &mut self,
        path: &'static str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Bytes, Status> {
        self.inner
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(body);
        for (name, value) in headers {
            let value = value.parse().expect("a header's value");
            request.metadata_mut().insert(*name, value);
        }
        let path = http::uri::PathAndQuery::from_static(path);
        let response = self.inner.unary(request, path, BytesCodec).await?;
        Ok(response.into_inner())
    }

    /// Sends an export request.
    pub(crate) async fn export(
        &mut self,
        request: &impl Message,
    ) -> Result<ExportLogsServiceResponse, Status> {
        self.send(request.encode_to_vec().into()).await
    }
}

/// An answer over HTTP.
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl HttpAnswer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// Posts to `/v1/logs` of an OTLP receiver.
///
/// # Errors
/// When there is no answer.
pub(crate) async fn post(
    address: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> anyhow::Result<HttpAnswer> {
    post_to(address, "/v1/logs", headers, body).await
}

/// Posts to a path of an OTLP receiver.
///
/// # Errors
/// When there is no answer.
pub(crate) async fn post_to(
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> anyhow::Result<HttpAnswer> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = http::Request::post(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, body) = client
        .request(request.body(Full::new(body))?)
        .await?
        .into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(HttpAnswer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body,
    })
}

/// `google.rpc.Status`, the body of every refusal.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

impl RpcStatus {
    /// The details that gRPC carries in `grpc-status-details-bin`.
    pub(crate) fn of(status: &Status) -> Self {
        Self::decode(status.details()).expect("grpc-status-details-bin is a google.rpc.Status")
    }

    /// Whether it has a detail of this type, such as `google.rpc.RetryInfo`.
    pub(crate) fn has(&self, type_name: &str) -> bool {
        self.details
            .iter()
            .any(|detail| detail.type_url.ends_with(type_name))
    }
}

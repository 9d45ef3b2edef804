//! Bearer tokens from a file, re-read as they rotate.
//!
//! kube re-reads a token file every 50 s and does not look at the answer. Here it is read every 10 s
//! of use and, when the server answers 401, at once: if the file then holds another token, the
//! request is sent again with it and nobody notices the rotation.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use kube::client::Body;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service, ServiceExt};

use super::link::copy;

/// A token is read again after this time. The kubelet replaces it at 80 % of its life, minutes
/// before it ends, so any value below a minute is safe; 10 s costs nothing.
const TOKEN_MAX_AGE: Duration = Duration::from_secs(10);

/// A token file and the last token that was read from it.
pub(super) struct TokenFile {
    path: PathBuf,
    latest: Mutex<Token>,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    read_at: Instant,
}

impl TokenFile {
    /// Reads it for the first time; the file must be there.
    pub(super) fn read(path: PathBuf) -> Result<Self, String> {
        let header = read(&path)?;
        Ok(Self { path, latest: Mutex::new(Token { header, read_at: Instant::now() }) })
    }

    /// What to sign with now.
    pub(super) fn header(&self) -> HeaderValue {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if latest.read_at.elapsed() < TOKEN_MAX_AGE { latest.header } else { self.reread() }
    }

    /// Reads the file. If that fails the last token stays in use, as client-go does: some mounts are
    /// removed after the start to limit exposure.
    fn reread(&self) -> HeaderValue {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match read(&self.path) {
            Ok(header) => latest.header = header,
            Err(reason) => {
                tracing::warn!(file = %self.path.display(), reason, "token file: keeping the last token");
            }
        }
        latest.read_at = Instant::now();
        latest.header.clone()
    }
}

fn read(path: &PathBuf) -> Result<HeaderValue, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let token = text.trim();
    if token.is_empty() {
        return Err("it is empty".into());
    }
    let header = HeaderValue::try_from(format!("Bearer {token}"));
    let mut header = header.map_err(|_| "it holds characters that no token has")?;
    header.set_sensitive(true);
    Ok(header)
}

/// Signs requests with the token of a file.
#[derive(Clone)]
pub(super) struct TokenLayer {
    file: Arc<TokenFile>,
}

impl TokenLayer {
    pub(super) fn new(file: TokenFile) -> Self {
        Self { file: Arc::new(file) }
    }
}

impl<S> Layer<S> for TokenLayer {
    type Service = TokenService<S>;

    fn layer(&self, inner: S) -> TokenService<S> {
        TokenService { inner, file: self.file.clone() }
    }
}

/// See [`TokenLayer`].
#[derive(Clone)]
pub(super) struct TokenService<S> {
    inner: S,
    file: Arc<TokenFile>,
}

impl<S, B> Service<Request<Body>> for TokenService<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    B: Send,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, file) = (self.inner.clone(), self.file.clone());
        async move {
            let sent = file.header();
            let again = copy(&request);
            let answer = inner.clone().oneshot(signed(request, &sent)).await?;
            if answer.status() != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            let fresh = file.reread();
            match again {
                Some(request) if fresh != sent => inner.oneshot(signed(request, &fresh)).await,
                _ => Ok(answer),
            }
        }
        .boxed()
    }
}

fn signed(mut request: Request<Body>, header: &HeaderValue) -> Request<Body> {
    request.headers_mut().insert(AUTHORIZATION, header.clone());
    request
}

//! The routes for operators and monitoring, which need no password: `/livez`, `/readyz` and `/metrics`.

use hyper::{Method, Request, StatusCode};

use service::metrics::CONTENT_TYPE;

use super::response::{self, Response};

/// The content type of a line of text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// Answers a request. `ready` returns what prevents the program from serving, if anything does.
pub fn respond<B>(
    request: &Request<B>,
    ready: impl FnOnce() -> Result<(), String>,
    metrics: impl FnOnce() -> String,
) -> Response {
    if request.method() != Method::GET {
        let why = "only GET is answered here";
        return response::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", why);
    }
    match request.uri().path() {
        "/livez" => response::body(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" => match ready() {
            Ok(()) => response::body(StatusCode::OK, TEXT, "ok\n"),
            Err(why) => response::body(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        "/metrics" => response::body(StatusCode::OK, CONTENT_TYPE, metrics()),
        _ => response::error(StatusCode::NOT_FOUND, "not_found", "here are /livez, /readyz and /metrics"),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn ask(method: Method, path: &str, ready: Result<(), String>) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let response = respond(&request, || ready, || "metrics".into());
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn an_operator_learns_why_it_is_not_ready() {
        let (get, ok) = (Method::GET, "ok\n".to_owned());
        assert_eq!(ask(get.clone(), "/readyz", Ok(())).await, (200, ok.clone()));
        assert_eq!(ask(get.clone(), "/readyz", Err("why".into())).await, (503, "why\n".into()));
        assert_eq!(ask(get.clone(), "/livez", Err("why".into())).await, (200, ok));
        assert_eq!(ask(get.clone(), "/metrics", Ok(())).await, (200, "metrics".into()));
        assert_eq!(ask(get, "/", Ok(())).await.0, 404);
        assert_eq!(ask(Method::POST, "/livez", Ok(())).await.0, 405);
    }
}

//! The routes of the API as data: what the router, the answers 404 and 405, audit and metrics know of each.

/// One path, and the methods that it has.
#[derive(Debug)]
pub(super) struct Route {
    /// With parameters in braces, as the router takes it.
    pub path: &'static str,
    /// The value of an `Allow` header.
    pub allow: &'static str,
    /// Its name in audit and metrics, which never name the path itself: anyone can invent one.
    pub action: &'static str,
}

pub(super) const OPEN: Route = Route { path: "/api/v1/sessions", allow: "POST", action: "open" };
pub(super) const END: Route = Route { path: "/api/v1/sessions/{*session}", allow: "DELETE", action: "end" };
/// A session without its id, which is unknown like any other.
pub(super) const END_NONE: Route = Route { path: "/api/v1/sessions/", allow: "DELETE", action: "end" };
pub(super) const TARGETS: Route =
    Route { path: "/api/v1/hosts/{host}/targets", allow: "GET", action: "targets" };

pub(super) const ALL: [&Route; 4] = [&OPEN, &END, &END_NONE, &TARGETS];

/// The message of a 404.
pub(super) const WHAT_IS_HERE: &str =
    "here are POST /api/v1/sessions, DELETE /api/v1/sessions/ID and GET /api/v1/hosts/ID/targets";

/// The route with this path, as the router reports it.
pub(super) fn find(path: &str) -> Option<&'static Route> {
    ALL.into_iter().find(|route| route.path == path)
}

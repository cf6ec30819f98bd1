//! The routes of the API as data: what the router, the answers 404 and 405, audit, metrics and the test of
//! `docs/openapi.json` know of each.

use hyper::Method as HttpMethod;

/// One path, and the methods that it has.
#[derive(Debug)]
pub(super) struct Route {
    /// With parameters in braces, as the router and OpenAPI take it.
    pub path: &'static str,
    pub methods: &'static [Method],
}

/// One method of a path.
#[derive(Debug)]
pub(super) struct Method {
    pub name: &'static str,
    /// Its name in audit and metrics, which never name the path itself: anyone can invent one.
    pub action: &'static str,
    /// Its name in `docs/openapi.json`; empty for a path that is only there for its error.
    #[cfg_attr(not(test), allow(dead_code, reason = "for the test of docs/openapi.json"))]
    pub operation: &'static str,
    pub access: Access,
    /// Whether pages ask for it again and again. Audit has it only if it fails.
    pub is_polled: bool,
    /// Whether any answer removes the browser's cookie, also an error.
    pub removes_cookie: bool,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody: who asks wants to sign in.
    Anyone,
    /// Needs a key, or a user who has signed in.
    Identity,
    /// Only the holder of a key, with the key itself.
    Key,
}

impl Method {
    const fn new(name: &'static str, action: &'static str, operation: &'static str) -> Method {
        Method { name, action, operation, access: Access::Identity, is_polled: false, removes_cookie: false }
    }

    const fn of(self, access: Access) -> Method {
        Method { access, ..self }
    }

    const fn polled(self) -> Method {
        Method { is_polled: true, ..self }
    }

    const fn removing_cookie(self) -> Method {
        Method { removes_cookie: true, ..self }
    }
}

pub(super) const SIGN_IN: Route = Route {
    path: "/api/v1/sign-in",
    methods: &[Method::new("POST", "sign_in", "signIn").of(Access::Anyone)],
};
pub(super) const PREVIEW: Route = Route {
    path: "/api/v1/sign-in/preview",
    methods: &[Method::new("POST", "preview", "previewLink").of(Access::Anyone)],
};
pub(super) const ME: Route =
    Route { path: "/api/v1/me", methods: &[Method::new("GET", "me", "getMe").polled()] };
pub(super) const SIGN_OUT: Route = Route {
    path: "/api/v1/sign-out",
    methods: &[Method::new("POST", "sign_out", "signOut").removing_cookie()],
};
pub(super) const LINKS: Route = Route {
    path: "/api/v1/sign-in-links",
    methods: &[Method::new("POST", "link", "createSignInLink").of(Access::Key)],
};
pub(super) const HOSTS: Route =
    Route { path: "/api/v1/hosts", methods: &[Method::new("GET", "hosts", "listHosts").polled()] };
pub(super) const HOST: Route =
    Route { path: "/api/v1/hosts/{host}", methods: &[Method::new("GET", "host", "getHost").polled()] };
pub(super) const TARGETS: Route =
    Route { path: "/api/v1/hosts/{host}/targets", methods: &[Method::new("GET", "targets", "listTargets")] };
pub(super) const SESSIONS: Route = Route {
    path: "/api/v1/sessions",
    methods: &[
        Method::new("GET", "sessions", "listSessions").polled(),
        Method::new("POST", "open", "openSession"),
    ],
};
pub(super) const SESSION: Route = Route {
    path: "/api/v1/sessions/{session}",
    methods: &[
        Method::new("GET", "session", "getSession").polled(),
        Method::new("DELETE", "end", "endSession"),
    ],
};
/// A session without its id, which is unknown like any other.
pub(super) const NO_SESSION: Route =
    Route { path: "/api/v1/sessions/", methods: &[Method::new("DELETE", "end", "")] };
pub(super) const VIEWER: Route = Route {
    path: "/api/v1/sessions/{session}/viewer",
    methods: &[Method::new("POST", "viewer", "createViewerFile")],
};
pub(super) const LIVE: Route =
    Route { path: "/api/v1/live", methods: &[Method::new("GET", "live", "waitForChange").polled()] };

pub(super) const ALL: [&Route; 13] = [
    &SIGN_IN,
    &PREVIEW,
    &ME,
    &SIGN_OUT,
    &LINKS,
    &HOSTS,
    &HOST,
    &TARGETS,
    &SESSIONS,
    &SESSION,
    &NO_SESSION,
    &VIEWER,
    &LIVE,
];

/// The message of a 404.
pub(super) const WHAT_IS_HERE: &str = "nothing is here: below /api/v1/ there are sessions, hosts, live, me, sign-in, \
     sign-in-links and sign-out (docs/openapi.json)";

impl Route {
    /// The value of an `Allow` header.
    pub(super) fn allow(&self) -> String {
        self.methods.iter().map(|method| method.name).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn method(&self, name: &HttpMethod) -> Option<&'static Method> {
        self.methods.iter().find(|method| method.name == name.as_str())
    }

    /// Whether anybody may learn what its methods are.
    pub(super) fn is_for_anyone(&self) -> bool {
        self.methods.iter().all(|method| method.access == Access::Anyone)
    }
}

/// The route with this path, as the router reports it.
pub(super) fn find(path: &str) -> Option<&'static Route> {
    ALL.into_iter().find(|route| route.path == path)
}

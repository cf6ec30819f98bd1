mod calls;
mod hosts;
mod openapi;
mod sessions;
mod sign_in;

use serde_json::json;

use crate::testing::Reaction;
use protocol::command;

const SESSIONS: &str = "/api/v1/sessions";

const KEYS: &str = "[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\n\
        [[platform.api_key]]\nname = 'logs'\nsha256 = 'OTHER'\nhosts = ['h1']\ntargets = ['log']\n";

fn accepted() -> Reaction {
    Reaction::Answer(serde_json::to_string(&command::Answer::accepted("s")).unwrap())
}

fn open_request(host: &str, target: &str) -> String {
    json!({ "host": host, "target": target }).to_string()
}

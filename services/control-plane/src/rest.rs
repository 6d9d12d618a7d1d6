//! The REST interface, over the same use cases as gRPC, described at `/openapi.json`.
//!
//! What always holds: a person's session opens everything here that the person may do; an API
//! key opens its own project's list of servers and configuration, for reading, and nothing else.
//! An error is `{"error": {"code", "message", "field", "help"}}`; unknown fields are ignored; a
//! field of the wrong type is named and its value is not shown. No answer is cached.
//!
//! To add a route: a handler with `#[utoipa::path]` in the resource's file, and its line in
//! [`routes!`] below. A test compares the two.

mod api_key;
mod audit;
mod call;
mod client_config;
mod failure;
mod login;
mod member;
mod page;
mod project;
mod request;
mod server;
mod server_item;
mod server_work;
mod time;
mod tool;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{RefOr, SecurityRequirement, Server};
use utoipa::{Modify, OpenApi};

use crate::app::App;
use crate::freshness::fresh;

/// Makes the router, its description and the list of routes out of one table.
macro_rules! routes {
    ($($method:ident $path:literal => $module:ident :: $handler:ident;)*) => {
        #[derive(OpenApi)]
        #[openapi(
            info(
                title = "mcp-orch",
                description = "Projects of MCP servers behind one URL: configuration and records."
            ),
            paths($($module::$handler),*),
            modifiers(&Security, &Meanings),
        )]
        struct Document;

        #[cfg(test)]
        const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path)),*];

        fn resources() -> Router<Arc<App>> {
            Router::new()$(.route($path, axum::routing::$method($module::$handler)))*
        }
    };
}

routes! {
    post "/api/auth/login" => login::login;
    get "/projects" => project::list;
    post "/projects" => project::create;
    get "/projects/{id}" => project::get;
    patch "/projects/{id}" => project::update;
    delete "/projects/{id}" => project::delete;
    get "/projects/{id}/servers" => server::list;
    post "/projects/{id}/servers" => server::create;
    post "/projects/{id}/servers/import" => server_work::import;
    get "/projects/{id}/servers/{sid}" => server::get;
    put "/projects/{id}/servers/{sid}" => server::update;
    delete "/projects/{id}/servers/{sid}" => server::delete;
    post "/projects/{id}/servers/{sid}/toggle" => server::toggle;
    post "/projects/{id}/servers/{sid}/test" => server_work::test;
    get "/projects/{id}/servers/{sid}/log" => server_work::log;
    get "/projects/{id}/servers/{sid}/tools" => tool::tools;
    post "/projects/{id}/servers/{sid}/tools/approve" => tool::approve_all;
    post "/projects/{id}/servers/{sid}/tools/{tool}/approve" => tool::approve;
    post "/projects/{id}/servers/{sid}/tools/{tool}/toggle" => tool::toggle_tool;
    get "/projects/{id}/cline-config" => client_config::cline;
    post "/projects/{id}/client-configs" => client_config::mint;
    get "/projects/{id}/api-keys" => api_key::list;
    post "/projects/{id}/api-keys" => api_key::create;
    delete "/projects/{id}/api-keys/{kid}" => api_key::revoke;
    get "/projects/{id}/members" => member::list;
    put "/projects/{id}/members/{uid}" => member::set;
    delete "/projects/{id}/members/{uid}" => member::remove;
    get "/projects/{id}/calls" => call::list;
    get "/projects/{id}/calls/{cid}" => call::get;
    get "/projects/{id}/audit" => audit::list;
}

/// How callers show who they are.
struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A session token from POST /api/auth/login; where an operation says so, an API \
                 key of the project.",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        document.security =
            Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("bearer", [])]);
    }
}

/// What a status means where an operation says nothing of its own.
struct Meanings;

impl Modify for Meanings {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
            let responses =
                operations.into_iter().flatten().flat_map(|item| &mut item.responses.responses);
            for (status, response) in responses {
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    meaning(status).clone_into(&mut response.description);
                }
            }
        }
    }
}

fn meaning(status: &str) -> &'static str {
    match status {
        "200" | "204" => "Done",
        "201" => "Made",
        "400" => "A field breaks its rule",
        "401" => "No valid credential",
        "403" => "The caller's role is too small",
        "404" => "Not there, or not for the caller",
        "409" => "Taken, or changed by somebody else at the same time",
        "413" => "The body is larger than 1 MiB",
        _ => "Not carried out",
    }
}

/// The routes.
pub fn router(app: &Arc<App>) -> Router {
    let document = document(app);
    let openapi = move || {
        let document = document.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], document) }
    };
    resources()
        .layer(axum::middleware::from_fn_with_state(Arc::clone(app), fresh))
        .route("/openapi.json", axum::routing::get(openapi))
        .method_not_allowed_fallback(async || failure::Failure::wrong_method().into_response())
        .layer(axum::middleware::map_response(uncached))
        .with_state(Arc::clone(app))
}

/// The OpenAPI document.
fn document(app: &App) -> Bytes {
    let mut document = Document::openapi();
    document.servers = Some(vec![Server::new(app.public_url().as_str().trim_end_matches('/'))]);
    match document.to_json() {
        Ok(json) => json.into(),
        Err(error) => {
            tracing::error!(%error, "no OpenAPI document");
            Bytes::from_static(b"{}")
        }
    }
}

/// Answers hold keys, tokens and what only this caller may see.
async fn uncached(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::to_value(Document::openapi()).unwrap()
    }

    #[test]
    fn every_route_is_described_and_every_description_is_a_route() {
        let document = document();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(move |method| (method.clone(), path.clone()))
            })
            .collect();
        let routed = ROUTES.iter().map(|(method, path)| ((*method).into(), (*path).into()));
        assert_eq!(described, routed.collect());
    }

    #[test]
    fn the_document_is_complete_in_itself() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3."));
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                check_parameters(path, method, operation);
            }
        }
    }

    fn check_parameters(path: &str, method: &str, operation: &Value) {
        let parameters = operation["parameters"].as_array();
        let named: BTreeSet<&str> = parameters
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let wanted: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(named, wanted, "{method} {path}");
        assert!(operation["operationId"].is_string(), "{method} {path}");
        assert!(operation["summary"].is_string(), "{method} {path}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(response["description"].is_string(), "{method} {path} {status}");
        }
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                references.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| collect(value, references));
            }
            Value::Array(list) => list.iter().for_each(|value| collect(value, references)),
            _ => {}
        }
    }

    #[test]
    fn every_page_is_asked_for_in_the_same_way() {
        let document = document();
        let items = document["paths"].as_object().unwrap().values();
        let mut pages = 0;
        for operation in items.filter_map(|item| item.get("get")) {
            let answer = &operation["responses"]["200"]["content"]["application/json"]["schema"];
            if !answer["$ref"].as_str().is_some_and(|name| name.ends_with("Page")) {
                continue;
            }
            pages += 1;
            for name in ["page_size", "page_token"] {
                let parameters = operation["parameters"].as_array().unwrap().iter();
                let found: Vec<_> = parameters.filter(|one| one["name"] == name).collect();
                assert_eq!(found.len(), 1, "{operation}");
                assert_eq!(
                    (&found[0]["in"], &found[0]["required"]),
                    (&"query".into(), &false.into())
                );
                assert!(found[0]["description"].is_string());
            }
        }
        assert_eq!(pages, 6);
    }

    #[test]
    fn operation_ids_are_unique() {
        let document = document();
        let items = document["paths"].as_object().unwrap().values();
        let ids: Vec<_> = items
            .flat_map(|item| item.as_object().unwrap().values())
            .map(|operation| operation["operationId"].as_str().unwrap().to_owned())
            .collect();
        let unique: BTreeSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
    }
}

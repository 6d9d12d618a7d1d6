//! Who may ask for what.

use proto::control::v1 as pb;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::Site;

#[tokio::test]
async fn a_login_opens_a_session() {
    let site = Site::new().await;
    let first = &site.owner.first;
    let body = json!({ "email": first.email, "password": first.password.expose_secret() });
    let nobody = site.http.with("");
    let answer = nobody.post("/api/auth/login", body).await.ok();
    assert_eq!(answer["token_type"], "bearer");
    assert!((3_590..=3_600).contains(&answer["expires_in"].as_i64().unwrap()));
    assert_eq!(answer["user"]["id"], first.user.to_string());
    let token = answer["access_token"].as_str().unwrap();
    let projects = nobody.with(token).get("/projects").await.ok();
    assert_eq!(projects["projects"][0]["id"], site.project.to_string());
    let wrong = json!({ "email": first.email, "password": "wrong" });
    let refused = nobody.post("/api/auth/login", wrong).await.refused();
    assert_eq!((refused.0, refused.1.as_str()), (401, "UNAUTHENTICATED"));
    let missing = nobody.post("/api/auth/login", json!({ "email": 1 })).await.refused();
    assert_eq!(missing.2.as_deref(), Some("email"));
}

/// Every operation of the document, with an id of nothing in each place.
async fn operations(site: &Site) -> Vec<(Method, String)> {
    let document = site.http.with("").get("/openapi.json").await.ok();
    assert_eq!(document["servers"][0]["url"], "http://mcp.example.org");
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let path: Vec<_> = path
                .split('/')
                .map(|part| if part.starts_with('{') { "0197-nothing" } else { part })
                .collect();
            let method = method.to_uppercase().parse().unwrap();
            operations.push((method, path.join("/")));
        }
    }
    operations
}

#[tokio::test]
async fn without_a_valid_credential_nothing_opens() {
    let site = Site::new().await;
    let operations = operations(&site).await;
    assert!(operations.len() > 25, "{}", operations.len());
    let unknown = format!("api_key_{}", "0".repeat(40));
    for (method, path) in operations {
        if path == "/api/auth/login" {
            continue;
        }
        for credential in ["", "nonsense", "a.b.c", &unknown] {
            let http = site.http.with(credential);
            let reply = http.send(method.clone(), &path, Some("{}".to_owned())).await;
            assert_eq!(reply.refused().0, 401, "{method} {path} {credential:?}");
            assert_eq!(reply.headers["www-authenticate"], "Bearer");
        }
    }
}

#[tokio::test]
async fn another_organizations_project_is_as_unknown_as_any() {
    let site = Site::new().await;
    let (_, foreign) = site.world.other_organization("other").await;
    let unknown = "nothing-has-this-id";
    for rest in [
        "",
        "/servers",
        "/cline-config",
        "/cline-config?unified=false",
        "/members",
        "/api-keys",
        "/calls",
        "/audit",
    ] {
        let there = site.http.get(&format!("/projects/{foreign}{rest}")).await;
        let nowhere = site.http.get(&format!("/projects/{unknown}{rest}")).await;
        assert_eq!(there.status, StatusCode::NOT_FOUND, "{rest}");
        assert_eq!(there.text, nowhere.text, "{rest}");
    }
    for rest in ["/servers", "/cline-config"] {
        let http = site.http.with(site.api_key());
        let there = http.get(&format!("/projects/{foreign}{rest}")).await;
        assert_eq!(there.status, StatusCode::NOT_FOUND, "{rest}");
    }
}

#[tokio::test]
async fn a_key_reads_its_servers_and_configuration_and_nothing_else() {
    let site = Site::new().await;
    let key = site.http.with(site.api_key());
    for path in ["/servers", "/cline-config"] {
        assert_eq!(key.get(&site.at(path)).await.status, StatusCode::OK, "{path}");
    }
    let header = reqwest::Client::new()
        .get(format!("http://{}{}", site.world.address, site.at("/servers")))
        .header("X-API-Key", site.api_key());
    assert_eq!(header.send().await.unwrap().status(), StatusCode::OK);
    for (method, path) in [
        (Method::GET, "/projects".to_owned()),
        (Method::GET, site.at("")),
        (Method::GET, site.at("/calls")),
        (Method::GET, site.at("/api-keys")),
        (Method::POST, site.at("/servers")),
        (Method::DELETE, site.at("")),
    ] {
        let reply = key.send(method.clone(), &path, Some("{}".to_owned())).await;
        assert_eq!(reply.refused().0, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn roles_reach_as_far_as_the_guide_says() {
    let site = Site::new().await;
    let server = json!({ "name": "a", "command": "x" });
    let made = site.http.post(&site.at("/servers"), server.clone()).await.ok();
    let path = site.at(&format!("/servers/{}", made["id"].as_str().unwrap()));
    let developer = site.member("dev", pb::Role::Developer).await;
    let reporter = site.member("reporter", pb::Role::Reporter).await;
    for http in [&developer, &reporter] {
        assert_eq!(http.get(&path).await.status, StatusCode::OK);
        for reply in [
            http.post(&site.at("/servers"), server.clone()).await,
            http.put(&path, json!({ "timeout": 1 })).await,
            http.post(&format!("{path}/toggle"), json!({})).await,
            http.delete(&path).await,
            http.delete(&site.at("")).await,
        ] {
            assert_eq!(reply.refused().0, 403, "{}", reply.text);
        }
    }
    assert_eq!(reporter.get(&site.at("/audit")).await.refused().0, 403);
    assert_eq!(reporter.post(&format!("{path}/test"), json!({})).await.refused().0, 403);
    assert_eq!(developer.post(&format!("{path}/test"), json!({})).await.refused().0, 503);
}

#[tokio::test]
async fn what_no_route_takes_is_said_in_json() {
    let site = Site::new().await;
    let reply = site.http.send(Method::PATCH, &site.at("/servers"), None).await;
    assert_eq!(reply.refused().0, 405);
    let reply = site.http.send(Method::POST, "/projects", Some("{\"name\": secret".into())).await;
    assert_eq!(reply.refused().2.as_deref(), Some("body"));
    assert!(!reply.text.contains("secret"));
}

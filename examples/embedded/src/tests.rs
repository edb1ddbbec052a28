//! The program, asked through its routes and without a socket.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt;

use super::*;

/// The status and the body of an answer.
async fn ask(service: &Arc<Service>, method: &str, path: &str) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let answer = router(service).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.into()).unwrap())
}

#[tokio::test]
async fn commands_states_and_views_work_in_a_program_and_survive_its_restart() {
    let folder = tempfile::tempdir().unwrap();
    let service = Arc::new(Service::open(folder.path()).unwrap());
    for path in ["/accounts/anna/open/Anna", "/accounts/ben/open/Ben", "/accounts/anna/deposit/100"] {
        assert_eq!(ask(&service, "POST", path).await.0, 200, "{path}");
    }
    let (status, reason) = ask(&service, "POST", "/accounts/anna/open/Anna").await;
    assert_eq!((status, &*reason), (422, "the account is already open"));
    assert_eq!(ask(&service, "GET", "/rich/1").await, (200, "Anna".to_owned()));
    service.close();
    drop(service);

    let service = Arc::new(Service::open(folder.path()).unwrap());
    assert_eq!(ask(&service, "GET", "/accounts/anna/balance").await, (200, "100".to_owned()));
    assert_eq!(ask(&service, "GET", "/rich/0").await, (200, "Anna, Ben".to_owned()));
    let (status, events) = ask(&service, "GET", "/gesta/streams/account-anna").await;
    assert!(status == 200 && events.contains("bank.account.deposited"), "{status} {events}");
    service.close();
}

#[test]
fn the_page_on_embedding_shows_this_program() {
    let (page, program) = (include_str!("../../../docs/embedding.md"), include_str!("main.rs"));
    let blocks = page.split("```rust,ignore\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let blocks = blocks.collect::<Vec<_>>();
    assert!(blocks.len() >= 4, "the page shows the parts of the program");
    for block in blocks {
        assert!(program.contains(block.trim_end()), "not in main.rs:\n{block}");
    }
}

//! How the fulfilment reaches the other services: commands over HTTP, each with the key of its effect.

use std::time::Duration;

use gesta::{EffectContext, Failure, Perform, SendError};
use serde_json::{Value, json};

use super::fulfilment::{Effect, Fulfilment, Outcome};
use super::order::{Order, OrderCommand, OrderId};

/// The longest wait for an answer of another service.
const CALL_TIME: Duration = Duration::from_secs(5);

/// A command to an entity of another service.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The category of the entity.
    pub category: &'static str,
    /// Its id.
    pub id: String,
    /// The name of the command.
    pub name: &'static str,
    /// Its fields.
    pub body: Value,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// The domain refused it, with this code.
    Refused(String),
}

/// The other services of the shop.
pub trait Services: Send + Sync + 'static {
    /// Sends a command under the key of the effect.
    ///
    /// # Errors
    /// [`Failure`] if nothing is known to have come of it.
    fn send(
        &self,
        cx: &EffectContext<'_>,
        command: Command,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send;
}

/// Performs the effects of the fulfilment.
#[derive(Debug)]
pub struct Shop<S>(pub S);

impl<S: Services> Perform<Fulfilment> for Shop<S> {
    async fn perform(&self, cx: &EffectContext<'_>, effect: Effect) -> Result<Outcome, Failure> {
        let order = cx.id::<OrderId>()?;
        let command = match effect {
            Effect::Ship => return send_order(cx, &order, OrderCommand::Ship).await,
            Effect::Cancel { reason } => {
                return send_order(cx, &order, OrderCommand::Cancel { reason }).await;
            }
            Effect::Reserve { article, count } => {
                let body = json!({"order": order, "count": count});
                Command { category: "stock", id: article, name: "reserve", body }
            }
            Effect::Unreserve { article } => {
                Command { category: "stock", id: article, name: "release", body: json!({"order": order}) }
            }
            Effect::Refund { payment } => {
                Command { category: "payment", id: payment, name: "refund", body: json!({}) }
            }
        };
        Ok(match self.0.send(cx, command).await? {
            Answer::Done => Outcome::Done,
            Answer::Refused(code) => Outcome::Refused { code },
        })
    }
}

/// Orders are in the store of this service.
async fn send_order(
    cx: &EffectContext<'_>,
    order: &OrderId,
    command: OrderCommand,
) -> Result<Outcome, Failure> {
    match cx.send::<Order>(order, command).await {
        Ok(_) => Ok(Outcome::Done),
        Err(SendError::Refused(refused)) => Ok(Outcome::Refused { code: format!("{refused:?}") }),
        Err(error) => Err(error.into()),
    }
}

/// The services at their addresses.
#[derive(Debug, Clone)]
pub struct HttpServices {
    stock: String,
    payments: String,
    agent: ureq::Agent,
}

impl HttpServices {
    /// The addresses of stock and payments, such as `http://127.0.0.1:2116`.
    #[must_use]
    pub fn new(stock: impl Into<String>, payments: impl Into<String>) -> Self {
        let config =
            ureq::Agent::config_builder().timeout_global(Some(CALL_TIME)).http_status_as_error(false);
        Self { stock: stock.into(), payments: payments.into(), agent: config.build().into() }
    }
}

impl Services for HttpServices {
    async fn send(&self, cx: &EffectContext<'_>, command: Command) -> Result<Answer, Failure> {
        let base = if command.category == "stock" { &self.stock } else { &self.payments };
        let Command { category, id, name, body } = command;
        let url = format!("{base}/commands/{category}/{id}/{name}");
        let input = cx.input();
        let causation = input.id().to_string();
        let request = self
            .agent
            .post(&url)
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", cx.key())
            .header("X-Actor", "process:fulfilment")
            .header("X-Correlation-Id", input.tag("$correlation").unwrap_or(&causation))
            .header("X-Causation-Id", &causation);
        let unreachable = |error| Failure::Unavailable(format!("{url}: {error}").into());
        // A worker of a host has a thread of its own, so the call may block.
        let mut response = request.send(body.to_string()).map_err(unreachable)?;
        let body = response.body_mut().read_to_string().map_err(unreachable)?;
        read_answer(&url, response.status().as_u16(), &body)
    }
}

/// The answer in a response. A service that is away or busy is no answer.
fn read_answer(url: &str, status: u16, body: &str) -> Result<Answer, Failure> {
    let problem = || serde_json::from_str::<Value>(body).unwrap_or_default();
    match status {
        200..=299 => Ok(Answer::Done),
        422 if problem()["code"].is_string() => {
            Ok(Answer::Refused(problem()["code"].as_str().unwrap_or_default().to_owned()))
        }
        408 | 409 | 429 | 500.. => Err(Failure::Unavailable(format!("{url}: {status} {body}").into())),
        _ => Err(Failure::Final(format!("{url}: {status} {body}").into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_by_the_domain_is_a_refusal() {
        let refused = r#"{"type":"urn:gesta:problem:refused","code":"OutOfStock"}"#;
        assert!(matches!(read_answer("u", 200, "{}"), Ok(Answer::Done)));
        assert!(matches!(read_answer("u", 422, refused), Ok(Answer::Refused(code)) if code == "OutOfStock"));
        for status in [409, 429, 500, 503] {
            assert!(matches!(read_answer("u", status, "{}"), Err(Failure::Unavailable(_))), "{status}");
        }
        for status in [400, 404, 422] {
            assert!(matches!(read_answer("u", status, "{}"), Err(Failure::Final(_))), "{status}");
        }
    }
}

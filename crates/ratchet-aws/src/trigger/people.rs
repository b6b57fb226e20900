//! What people do with executions, over a function URL that asks for IAM. Who they are is what IAM proved: nothing of a payload is an identity.

use ratchet_core::{
    execution::ExecutionRow,
    history::Actor,
    ids::{Epoch, ExecutionId, StepKey, StepPath},
    step::{Answer, StepState, Waiting},
};
use ratchet_engine::{EngineError, ResumeRequest};
use serde_json::{Value, json};

use super::{
    Invocation, Trigger,
    http::{self, Request},
    messages::{Cancel, Invoked, Reply, Resume, StartedAnswer},
    refusal::Refusal,
};

impl Trigger {
    /// Does what a person asks for: `POST /executions` starts one, `POST /executions/ID/approve`, `reject`, `cancel` and `resume` go on with it, `PUT /workflows` publishes, `POST /dead-letters/redrive` sends
    /// again what could not be done.
    pub(super) async fn person(&self, payload: &Value, invocation: &Invocation) -> Value {
        match self.asked(payload, invocation).await {
            Ok(answer) => http::answer(200, &answer),
            Err(refusal) => http::refused(&refusal),
        }
    }

    async fn asked(&self, payload: &Value, invocation: &Invocation) -> Result<Value, Refusal> {
        let request = Request::of(payload)?;
        let caller = caller(payload).ok_or(Refusal::NotSigned)?;
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        let answer = match (request.method.as_str(), path.as_slice()) {
            ("POST", ["executions"]) => {
                let key = format!("request {}", payload["requestContext"]["requestId"].as_str().unwrap_or_default());
                let actor = Actor::Person(caller.to_owned());
                let started = Box::pin(self.called(read(&request.body)?, key, actor)).await?;
                let (execution_id, status) = (started.row.id, started.row.status);
                json!(StartedAnswer { execution_id, status, created: started.created })
            }
            ("POST", ["executions", id, action]) => {
                let row = self.acted(&ExecutionId::new(*id), action, &request.body, caller).await?;
                json!(Invoked { execution_id: row.id, status: row.status })
            }
            ("PUT", ["workflows"]) => {
                json!(Box::pin(self.publish(read(&request.body)?, &invocation.unqualified())).await?)
            }
            ("POST", ["dead-letters", "redrive"]) => Box::pin(self.redrive(&invocation.unqualified())).await?,
            _ => return Err(Refusal::NoSuchPath(format!("{} {}", request.method, request.path.join("/")))),
        };
        tracing::info!(method = request.method, path = request.path.join("/"), caller, "done for a person");
        Ok(answer)
    }

    async fn acted(&self, id: &ExecutionId, action: &str, body: &[u8], caller: &str) -> Result<ExecutionRow, Refusal> {
        let (engine, actor) = (&self.deployment.engine, Actor::Person(caller.to_owned()));
        Ok(match action {
            "approve" => self.answer(id, true, read(body)?, caller).await?,
            "reject" => self.answer(id, false, read(body)?, caller).await?,
            "cancel" => {
                let said: Cancel = read_some(body)?;
                engine.cancel(id, actor, said.reason.as_deref().unwrap_or("by a person")).await?
            }
            "resume" => {
                let said: Resume = read_some(body)?;
                let added_usd = said.add_budget_usd;
                if added_usd.is_some_and(|usd| usd <= 0.0) {
                    return Err(Refusal::Payload("`add_budget_usd` is more than nothing".to_owned()));
                }
                let request = ResumeRequest { from: said.from, edit: None, files: None, added_usd, actor };
                engine.resume(id, request).await?
            }
            other => return Err(Refusal::NoSuchPath(other.to_owned())),
        })
    }

    async fn answer(
        &self,
        id: &ExecutionId,
        approved: bool,
        said: Reply,
        caller: &str,
    ) -> Result<ExecutionRow, Refusal> {
        let engine = &self.deployment.engine;
        let epoch = if let Some(epoch) = said.epoch {
            Epoch(epoch)
        } else {
            let row = engine.ports().store.execution(id).await.map_err(EngineError::from)?;
            row.ok_or_else(|| EngineError::NotFound(id.clone()))?.epoch
        };
        let key = StepKey { execution: id.clone(), epoch, path: StepPath::named(&said.step) };
        let row = engine.ports().store.step(&key).await.map_err(EngineError::from)?;
        let asked = match row.map(|row| row.state) {
            Some(StepState::Waiting(Waiting::Approval(question))) => question.approvers,
            _ => Vec::new(),
        };
        let by = names(caller).into_iter().find(|name| asked.contains(name)).unwrap_or_else(|| caller.to_owned());
        let answer = Answer { approved, comment: said.comment, by };
        Ok(engine.answer(&key, answer, Actor::Person(caller.to_owned())).await?)
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::Payload(error.to_string()))
}

/// The same, where nothing needs to be said.
fn read_some<T: serde::de::DeserializeOwned + Default>(body: &[u8]) -> Result<T, Refusal> {
    if body.is_empty() { Ok(T::default()) } else { read(body) }
}

/// The ARN that IAM proved.
fn caller(payload: &Value) -> Option<&str> {
    payload["requestContext"]["authorizer"]["iam"]["userArn"].as_str().filter(|arn| !arn.is_empty())
}

/// What an approval may call a caller: by the ARN, and a session of a role also by the role, whose sessions are named by whoever opens them.
fn names(caller: &str) -> Vec<String> {
    let mut names = vec![caller.to_owned()];
    if let Some((role, _session)) = caller.rsplit_once('/').filter(|(role, _)| role.contains(":assumed-role/")) {
        names.push(role.to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_calls_is_what_iam_proved() {
        let proven =
            json!({"requestContext": {"authorizer": {"iam": {"userArn": "arn:aws:iam::1:user/ada"}}}, "body": "{}"});
        assert_eq!(caller(&proven), Some("arn:aws:iam::1:user/ada"));
        let said =
            json!({"userArn": "arn:aws:iam::1:user/ada", "headers": {"x-user": "ada"}, "requestContext": {"http": {}}});
        assert_eq!(caller(&said), None);
        assert_eq!(
            names("arn:aws:sts::1:assumed-role/lead/ada"),
            ["arn:aws:sts::1:assumed-role/lead/ada", "arn:aws:sts::1:assumed-role/lead"]
        );
        assert_eq!(names("arn:aws:iam::1:user/team/ada"), ["arn:aws:iam::1:user/team/ada"]);
    }
}

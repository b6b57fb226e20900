//! The page's server: on loopback only, behind the guard.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{Path, Query as Parameters, State as Shared},
    http::{StatusCode, header},
    middleware,
    response::{Html, IntoResponse, Response, Sse},
    routing::{get, post},
};
use ratchet_core::ids::{Digest, ExecutionId};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{
    actions::{Actions, Asked},
    answers::{self, LogQuery, Query, Written},
    assets,
    changes::changes,
    guard::{Guard, guard},
};
use crate::{command_error::CommandError, exit_code::ExitCode, state::State};

/// A server that listens, and has answered nobody yet.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    guard: Arc<Guard>,
}

/// What every answer is made from.
struct Known {
    state: State,
    actions: Actions,
}

type Asks = Shared<Arc<Known>>;

/// An answer, or why there is none.
type Answered = Result<Json<Value>, Refused>;

/// An error as the page shows it.
struct Refused(CommandError);

impl Server {
    /// Listens on a port of 127.0.0.1; 0 for any that is free.
    pub(crate) async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, guard: Arc::new(Guard::new(port)) })
    }

    /// The address that lets a browser in.
    pub(crate) fn address(&self) -> String {
        self.guard.address()
    }
}

/// Answers until the process ends.
pub(crate) async fn serve(server: Server, state: State) -> Result<(), CommandError> {
    let actions = Actions::new(state.here()?.directory.root());
    let routes = Router::new()
        .route("/", get(async || Html(assets::INDEX)))
        .route("/assets/{name}", get(asset))
        .route("/api/executions", get(executions))
        .route("/api/changes", get(changed_executions))
        .route("/api/executions/{id}", get(execution))
        .route("/api/executions/{id}/diff", get(execution_diff))
        .route("/api/executions/{id}/artifacts/{digest}", get(artifact))
        .route("/api/executions/{id}/steps/{step}", get(step))
        .route("/api/executions/{id}/steps/{step}/log", get(log))
        .route("/api/executions/{id}/steps/{step}/transcript", get(transcript))
        .route("/api/executions/{id}/steps/{step}/why", get(why))
        .route("/api/executions/{id}/steps/{step}/diff", get(step_diff))
        .route("/api/executions/{id}/actions/{verb}", post(act))
        .route("/api/actions/{number}", get(action))
        .with_state(Arc::new(Known { state, actions }))
        .layer(middleware::from_fn_with_state(server.guard, guard));
    axum::serve(server.listener, routes).await.map_err(CommandError::Runtime)
}

async fn asset(Path(name): Path<String>) -> Response {
    match assets::asset(&name) {
        Some((media_type, text)) => ([(header::CONTENT_TYPE, media_type)], text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn executions(Shared(known): Asks, Parameters(query): Parameters<Query>) -> Answered {
    Ok(Json(answers::executions(&known.state, &query).await?))
}

async fn execution(Shared(known): Asks, Path(id): Path<String>) -> Answered {
    Ok(Json(answers::execution(&known.state, &id).await?))
}

async fn execution_diff(Shared(known): Asks, Path(id): Path<String>) -> Answered {
    Ok(Json(answers::changed(&known.state, &id, None).await?))
}

async fn step(Shared(known): Asks, Path((id, step)): Path<(String, String)>) -> Answered {
    Ok(Json(answers::step(&known.state, &id, &step).await?))
}

async fn step_diff(Shared(known): Asks, Path((id, step)): Path<(String, String)>) -> Answered {
    Ok(Json(answers::changed(&known.state, &id, Some(&step)).await?))
}

async fn why(Shared(known): Asks, Path((id, step)): Path<(String, String)>) -> Answered {
    Ok(Json(answers::reason(&known.state, &id, &step).await?))
}

async fn log(
    Shared(known): Asks,
    Path((id, step)): Path<(String, String)>,
    Parameters(query): Parameters<LogQuery>,
) -> Answered {
    Ok(Json(answers::log(&known.state, &id, &step, Written::Output, &query).await?))
}

async fn transcript(
    Shared(known): Asks,
    Path((id, step)): Path<(String, String)>,
    Parameters(query): Parameters<LogQuery>,
) -> Answered {
    Ok(Json(answers::log(&known.state, &id, &step, Written::Transcript, &query).await?))
}

/// The content of an artifact of an execution, to be kept as a file and never to be shown as a page.
async fn artifact(Shared(known): Asks, Path((id, digest)): Path<(String, String)>) -> Result<Response, Refused> {
    let row = answers::row(&known.state, &id).await?;
    let workflow = known.state.workflow(&row).await?;
    let outcome = known.state.outcome(&row, &workflow).await?;
    let Some(artifact) = outcome.view.artifacts.iter().find(|artifact| artifact.digest.as_str() == digest) else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let content = known.state.blobs.get(&Digest::new(digest.as_str())).await.map_err(CommandError::from)?;
    let name: String = artifact.path.rsplit('/').next().unwrap_or_default().chars().map(in_header).collect();
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, content).into_response())
}

/// A character of a file's name that may stand between quotes in a header.
fn in_header(character: char) -> char {
    if character.is_ascii_alphanumeric() || "-_. +@".contains(character) { character } else { '_' }
}

/// Which execution a page shows besides the list.
#[derive(Deserialize)]
struct Watched {
    execution: Option<String>,
}

async fn changed_executions(
    Shared(known): Asks,
    Parameters(watched): Parameters<Watched>,
) -> Result<impl IntoResponse, Refused> {
    let store = known.state.here()?.store.clone();
    Ok(Sse::new(changes(store, watched.execution.map(ExecutionId::new))).keep_alive(
        // A page that is gone is noticed, and forgotten, by writing to it.
        axum::response::sse::KeepAlive::default(),
    ))
}

async fn act(
    Shared(known): Asks,
    Path((id, verb)): Path<(String, String)>,
    Json(asked): Json<Asked>,
) -> Result<Response, Refused> {
    let row = answers::row(&known.state, &id).await?;
    let told = known.actions.start(&verb, &row, &asked).await?;
    Ok(told.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |told| Json(told).into_response()))
}

async fn action(Shared(known): Asks, Path(number): Path<u64>) -> Result<Response, Refused> {
    let told = known.actions.told(number).map_err(CommandError::Runtime)?;
    Ok(told.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |told| Json(told).into_response()))
}

impl<E: Into<CommandError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match (&self.0, self.0.exit_code()) {
            (CommandError::UnknownExecution { .. } | CommandError::UnknownStep { .. }, _) => StatusCode::NOT_FOUND,
            (_, ExitCode::WrongCall) => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({ "error": told(&self.0) }))).into_response()
    }
}

/// An error in the parts that `rendered` joins.
pub(super) fn told(error: &CommandError) -> Value {
    json!({ "code": error.code(), "message": error.to_string(), "hint": error.hint() })
}

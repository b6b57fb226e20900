//! One file per command.

mod apply;
mod approve;
mod artifacts;
mod cache;
mod cancel;
mod compare;
mod completions;
mod cost;
pub(crate) mod diff;
mod doctor;
mod graph;
mod history;
pub(crate) mod list;
mod logs;
mod new;
mod plan;
mod prune;
mod publish;
mod redrive;
mod render;
mod replay;
mod report;
mod rerun;
mod resume;
mod rm;
mod run;
mod schema;
mod shell;
mod stats;
mod status;
mod test;
mod top;
mod ui;
mod validate;
pub(crate) mod why;
mod workflows;

use std::{future::Future, num::NonZeroUsize, thread::available_parallelism};

use clap::Subcommand;

pub(crate) use self::prune::age;
use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, driving::supervise, exit_code::ExitCode,
};

/// The commands, in the order of a workflow's life.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Workflows(workflows::WorkflowsArguments),
    New(new::NewArguments),
    Run(run::RunArguments),
    Plan(plan::PlanArguments),
    Rerun(rerun::RerunArguments),
    Resume(resume::ResumeArguments),
    Apply(apply::ApplyArguments),
    Cancel(cancel::CancelArguments),
    Approve(approve::ApproveArguments),
    Reject(approve::RejectArguments),
    Validate(validate::ValidateArguments),
    Test(test::TestArguments),
    Graph(graph::GraphArguments),
    Render(render::RenderArguments),
    Publish(publish::PublishArguments),
    Artifacts(artifacts::ArtifactsArguments),
    Status(status::StatusArguments),
    List(list::ListArguments),
    Logs(logs::LogsArguments),
    Diff(diff::DiffArguments),
    Ui(ui::UiArguments),
    Report(report::ReportArguments),
    Top(top::TopArguments),
    Compare(compare::CompareArguments),
    Stats(stats::StatsArguments),
    Cost(cost::CostArguments),
    Shell(shell::ShellArguments),
    History(history::HistoryArguments),
    Replay(replay::ReplayArguments),
    Why(why::WhyArguments),
    Cache(cache::CacheArguments),
    Rm(rm::RmArguments),
    Prune(prune::PruneArguments),
    Redrive(redrive::RedriveArguments),
    Schema(schema::SchemaArguments),
    Doctor(doctor::DoctorArguments),
    Completions(completions::CompletionsArguments),
}

/// Where a command can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// On this machine and on a deployment.
    Both,
    /// On the executions of this machine alone.
    Here,
    /// On a deployment alone.
    There,
    /// On no executions that are kept.
    Nothing,
}

impl Command {
    /// Does what was asked.
    pub(crate) fn run(&self, common: &CommonArguments, console: Console) -> Result<ExitCode, CommandError> {
        let Some(stack) = common.stack() else {
            return if self.reach() == Reach::There {
                Err(CommandError::OnlyThere)
            } else {
                self.carry_out(common, console)
            };
        };
        match self.reach() {
            Reach::Both | Reach::There if cfg!(feature = "aws") => self.carry_out(common, console),
            Reach::Both | Reach::There => Err(CommandError::WithoutAws),
            Reach::Here => Err(CommandError::OnlyHere { stack: stack.to_owned() }),
            Reach::Nothing => self.carry_out(&CommonArguments { stack: None, ..common.clone() }, console),
        }
    }

    fn reach(&self) -> Reach {
        match self {
            Self::Run(_)
            | Self::Resume(_)
            | Self::Cancel(_)
            | Self::Approve(_)
            | Self::Reject(_)
            | Self::Publish(_)
            | Self::Artifacts(_)
            | Self::Status(_)
            | Self::List(_)
            | Self::Logs(_)
            | Self::History(_)
            | Self::Cache(_) => Reach::Both,
            Self::Plan(_)
            | Self::Rerun(_)
            | Self::Apply(_)
            | Self::Render(_)
            | Self::Diff(_)
            | Self::Shell(_)
            | Self::Replay(_)
            | Self::Why(_)
            | Self::Rm(_)
            | Self::Prune(_)
            | Self::Ui(_)
            | Self::Report(_)
            | Self::Top(_)
            | Self::Compare(_)
            | Self::Stats(_)
            | Self::Cost(_) => Reach::Here,
            Self::Redrive(_) => Reach::There,
            Self::New(_)
            | Self::Validate(_)
            | Self::Test(_)
            | Self::Graph(_)
            | Self::Schema(_)
            | Self::Doctor(_)
            | Self::Workflows(_)
            | Self::Completions(_) => Reach::Nothing,
        }
    }

    fn carry_out(&self, common: &CommonArguments, console: Console) -> Result<ExitCode, CommandError> {
        match self {
            Self::Workflows(arguments) => workflows::run(arguments, console),
            Self::New(arguments) => new::run(arguments, console),
            Self::Run(arguments) => drive(common, || run::run(arguments, common, console)),
            Self::Plan(arguments) => wait_for(plan::run(arguments, common, console)),
            Self::Rerun(arguments) => drive(common, || rerun::run(arguments, common, console)),
            Self::Resume(arguments) => drive(common, || resume::run(arguments, common, console)),
            Self::Apply(arguments) => drive(common, || apply::run(arguments, common, console)),
            Self::Cancel(arguments) => drive(common, || cancel::run(arguments, common, console)),
            Self::Approve(arguments) => drive(common, || approve::approve(arguments, common, console)),
            Self::Reject(arguments) => drive(common, || approve::reject(arguments, common, console)),
            Self::Validate(arguments) => validate::run(arguments, common, console),
            Self::Test(arguments) => drive(common, || test::run(arguments, common, console)),
            Self::Graph(arguments) => graph::run(arguments, common, console),
            Self::Render(arguments) => wait_for(render::run(arguments, common, console)),
            Self::Publish(arguments) => wait_for(publish::run(arguments, common, console)),
            Self::Artifacts(arguments) => wait_for(artifacts::run(arguments, common, console)),
            Self::Status(arguments) => wait_for(status::run(arguments, common, console)),
            Self::List(arguments) => wait_for(list::run(arguments, common, console)),
            Self::Logs(arguments) => wait_for(logs::run(arguments, common, console)),
            Self::Diff(arguments) => wait_for(diff::run(arguments, common, console)),
            Self::Ui(arguments) => wait_for(ui::run(arguments, common, console)),
            Self::Report(arguments) => wait_for(report::run(arguments, common, console)),
            Self::Top(arguments) => wait_for(top::run(arguments, common, console)),
            Self::Compare(arguments) => wait_for(compare::run(arguments, common, console)),
            Self::Stats(arguments) => wait_for(stats::run(arguments, common, console)),
            Self::Cost(arguments) => wait_for(cost::run(arguments, common, console)),
            Self::Shell(arguments) => wait_for(shell::run(arguments, common, console)),
            Self::History(arguments) => wait_for(history::run(arguments, common, console)),
            Self::Replay(arguments) => wait_for(replay::run(arguments, common, console)),
            Self::Why(arguments) => wait_for(why::run(arguments, common, console)),
            Self::Cache(arguments) => wait_for(cache::run(arguments, common, console)),
            Self::Rm(arguments) => wait_for(rm::run(arguments, common, console)),
            Self::Prune(arguments) => wait_for(prune::run(arguments, common, console)),
            Self::Redrive(_) => wait_for(redrive::run(common, console)),
            Self::Schema(arguments) => schema::run(arguments, console),
            Self::Doctor(arguments) => wait_for(doctor::run(arguments, common, console)),
            Self::Completions(arguments) => completions::run(arguments, console),
        }
    }
}

/// Runs a command that drives an execution: the processes of its steps end with this one. A deployment's have none here.
fn drive<T, F>(common: &CommonArguments, work: impl FnOnce() -> F) -> Result<T, CommandError>
where
    F: Future<Output = Result<T, CommandError>>,
{
    if common.stack().is_none() {
        supervise(common)?;
    }
    wait_for(work())
}

/// Threads beyond one a core: while one waits for the disk or for a new process to become its program, the others go on.
const SPARE_THREADS: usize = 1;

/// Runs a command that reads or drives executions. The others start no runtime.
fn wait_for<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores + SPARE_THREADS)
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    runtime.block_on(work)
}

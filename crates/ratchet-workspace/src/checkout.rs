//! A checkout of a repository, made for one run.
//!
//! Git asks for the repository with the configuration of whoever runs it, so what they may reach is reached. A secret is given to the few calls that reach the
//! repository, as a variable that only a helper for the repository's own host reads: it stands in no argument, no configuration and no url.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::Path,
    process::{Command, Stdio},
};

use crate::{disk::remove_tree, error::WorkspaceError};

/// A repository, and what of it is checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Where it is.
    pub url: String,
    /// A branch, a tag, a commit, or the whole name of a ref; the repository's own choice where there is none.
    pub reference: Option<String>,
}

/// The variable that holds the secret, for the helper alone.
const SECRET: &str = "RATCHET_CHECKOUT_SECRET";

/// Who asks for a repository with a token, where the url names nobody. The hosts of repositories take any name beside a token.
const USER: &str = "x-access-token";

/// The branch of a repository that has none yet and names none.
const FIRST_BRANCH: &str = "main";

/// Where a ref is fetched to that is no branch and no tag.
const FETCHED: &str = "refs/ratchet/source";

/// Makes a checkout in a folder; what lies there goes. Gives the commit, where there is one. A branch is checked out as a branch that follows the repository's, anything
/// else without one. No hook runs.
pub fn checkout(origin: &Origin, secret: Option<&str>, folder: &Path) -> Result<Option<String>, WorkspaceError> {
    let failed = |error| WorkspaceError::writing(folder, error);
    remove_tree(folder).map_err(failed)?;
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed)?;
    let git = Git { origin, secret, folder };
    git.make(&["init", "--quiet", "--template=", &format!("--initial-branch={FIRST_BRANCH}")])?;
    git.make(&["remote", "add", "origin", &origin.url])?;
    git.reach(&[
        "fetch",
        "--quiet",
        "--no-recurse-submodules",
        "origin",
        "+refs/heads/*:refs/remotes/origin/*",
        "+refs/tags/*:refs/tags/*",
    ])?;
    match &origin.reference {
        None => git.default_branch()?,
        Some(reference) => git.named(reference)?,
    }
    if folder.join(".gitmodules").symlink_metadata().is_ok() {
        git.reach(&["submodule", "--quiet", "update", "--init", "--recursive"])?;
    }
    // It says when and from where it was fetched, which is none of the repository's content.
    let _ = fs::remove_file(folder.join(".git/FETCH_HEAD"));
    git.commit("HEAD")
}

struct Git<'a> {
    origin: &'a Origin,
    secret: Option<&'a str>,
    folder: &'a Path,
}

impl Git<'_> {
    /// Checks out what the repository itself names.
    fn default_branch(&self) -> Result<(), WorkspaceError> {
        let said = self.reach(&["ls-remote", "--symref", "origin", "HEAD"])?;
        let branch = said.lines().find_map(|line| line.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD"));
        let detached =
            said.lines().find_map(|line| line.strip_suffix("\tHEAD").filter(|hash| !hash.starts_with("ref:")));
        match (branch, detached) {
            (Some(branch), _) if self.has_branch(branch)? => self.branch(branch),
            (Some(branch), _) => self.make(&["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")]).map(drop),
            (None, Some(commit)) => self.detached(commit),
            // There is nothing in it yet.
            (None, None) => Ok(()),
        }
    }

    /// Checks out what was asked for.
    fn named(&self, reference: &str) -> Result<(), WorkspaceError> {
        let branch = reference.strip_prefix("refs/heads/").unwrap_or(reference);
        if self.has_branch(branch)? {
            return self.branch(branch);
        }
        let tag = reference.strip_prefix("refs/tags/").unwrap_or(reference);
        for known in [format!("refs/tags/{tag}"), reference.to_owned()] {
            if let Some(commit) = self.commit(&known)? {
                return self.detached(&commit);
            }
        }
        // A commit that no branch has, or a ref that is neither branch nor tag.
        self.reach(&["fetch", "--quiet", "--no-recurse-submodules", "origin", &format!("+{reference}:{FETCHED}")])?;
        match self.commit(FETCHED)? {
            Some(commit) => self.detached(&commit),
            None => Err(self.refused(format!("{reference} is no commit"))),
        }
    }

    fn has_branch(&self, branch: &str) -> Result<bool, WorkspaceError> {
        Ok(self.commit(&format!("refs/remotes/origin/{branch}"))?.is_some())
    }

    fn branch(&self, branch: &str) -> Result<(), WorkspaceError> {
        self.make(&["checkout", "--quiet", "-B", branch, "--track", &format!("origin/{branch}")]).map(drop)
    }

    fn detached(&self, commit: &str) -> Result<(), WorkspaceError> {
        self.make(&["checkout", "--quiet", "--detach", commit]).map(drop)
    }

    /// The commit that a name stands for, where there is one.
    fn commit(&self, name: &str) -> Result<Option<String>, WorkspaceError> {
        let asked =
            self.command(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")]);
        let output = self.output(asked)?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Some(said).filter(|said| output.status.success() && !said.is_empty()))
    }

    /// Git, where it reaches nothing but the checkout.
    fn make(&self, arguments: &[&str]) -> Result<String, WorkspaceError> {
        self.run(self.command(arguments))
    }

    /// Git, where it reaches the repository.
    fn reach(&self, arguments: &[&str]) -> Result<String, WorkspaceError> {
        let mut command = self.command(arguments);
        let mut settings =
            vec![("http.lowSpeedLimit".to_owned(), "1".to_owned()), ("http.lowSpeedTime".to_owned(), "60".to_owned())];
        if let (Some(secret), Some((host, user))) = (self.secret, host_and_user(&self.origin.url)) {
            // The helpers of whoever runs it would keep the secret.
            settings.push(("credential.helper".to_owned(), String::new()));
            let user = user.unwrap_or(USER);
            let helper = format!(
                "!f() {{ test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' '{user}' \"${SECRET}\"; }}; f"
            );
            settings.push((format!("credential.{host}.helper"), helper));
            command.env(SECRET, secret).env("GIT_ASKPASS", "").env("SSH_ASKPASS", "");
        }
        configure(&mut command, &settings);
        self.run(command)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        // Whatever repository this process was started in, and whatever the engine was given, is none of this one's business.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let is_about_another =
                text.starts_with("GIT_") && !KEPT_VARIABLES.iter().any(|kept| text.starts_with(kept));
            if is_about_another || text.starts_with("RATCHET_") {
                command.env_remove(&name);
            }
        }
        command
            .args(arguments)
            .current_dir(self.folder)
            .env("GIT_CEILING_DIRECTORIES", self.folder.parent().map_or(OsStr::new(""), Path::as_os_str))
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "file:http:https:ssh")
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        configure(&mut command, &[]);
        command
    }

    fn run(&self, command: Command) -> Result<String, WorkspaceError> {
        let output = self.output(command)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    fn output(&self, mut command: Command) -> Result<std::process::Output, WorkspaceError> {
        command.output().map_err(|error| self.refused(format!("git cannot be started: {error}")))
    }

    /// What git said, which a server may have said to it: never the secret.
    fn refused(&self, reason: String) -> WorkspaceError {
        let reason = match self.secret.filter(|secret| !secret.is_empty()) {
            Some(secret) => reason.replace(secret, "***"),
            None => reason,
        };
        WorkspaceError::Checkout { url: self.origin.url.clone(), reason }
    }
}

/// Settings for one call, which no file holds.
fn configure(command: &mut Command, more: &[(String, String)]) {
    let own = [
        ("core.hooksPath", "/dev/null"),
        ("core.fsmonitor", "false"),
        ("gc.auto", "0"),
        ("advice.detachedHead", "false"),
    ];
    let own = own.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    let all: Vec<(String, String)> = own.chain(more.iter().cloned()).collect();
    command.env("GIT_CONFIG_COUNT", all.len().to_string());
    for (number, (key, value)) in all.into_iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
}

/// What of git's own variables says how repositories are reached, and not which one is meant.
const KEPT_VARIABLES: [&str; 7] =
    ["GIT_SSH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_SSL_", "GIT_HTTP_", "GIT_PROXY_"];

/// The scheme and host of a url by HTTP, and the user that it names.
fn host_and_user(url: &str) -> Option<(String, Option<&str>)> {
    let (scheme, rest) = url.split_once("://")?;
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let is_plain = |user: &&str| user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~%+".contains(&byte));
    Some((format!("{}://{host}", scheme.to_ascii_lowercase()), user.filter(is_plain)))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn git(folder: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(arguments).current_dir(folder);
        let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A repository with two branches, a tag, a commit that only a ref of its own has, and a hook that would be told of.
    fn repository(folder: &Path) -> (PathBuf, String) {
        let origin = folder.join("origin");
        fs::create_dir(&origin).unwrap();
        git(&origin, &["init", "-q", "-b", "trunk"]);
        for text in ["one", "two"] {
            fs::write(origin.join("file"), text).unwrap();
            git(&origin, &["add", "."]);
            git(&origin, &["commit", "-qm", text]);
        }
        git(&origin, &["tag", "-a", "v1", "-m", "first", "HEAD~1"]);
        git(&origin, &["checkout", "-qb", "feature/a"]);
        fs::write(origin.join("file"), "feature").unwrap();
        git(&origin, &["commit", "-qam", "feature"]);
        git(&origin, &["checkout", "-q", "--detach"]);
        fs::write(origin.join("file"), "review").unwrap();
        git(&origin, &["commit", "-qam", "review"]);
        git(&origin, &["update-ref", "refs/pull/7/head", "HEAD"]);
        git(&origin, &["checkout", "-q", "trunk"]);
        let first = git(&origin, &["rev-parse", "HEAD~1"]);
        (origin, first)
    }

    #[test]
    fn each_kind_of_ref_is_checked_out_as_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (origin, first) = repository(folder.path());
        let to = folder.path().join("checkout");
        let url = format!("file://{}", origin.display());
        for (reference, text, head) in [
            (None, "two", "trunk"),
            (Some("trunk"), "two", "trunk"),
            (Some("feature/a"), "feature", "feature/a"),
            (Some("refs/heads/feature/a"), "feature", "feature/a"),
            (Some("v1"), "one", "HEAD"),
            (Some("refs/tags/v1"), "one", "HEAD"),
            (Some(first.as_str()), "one", "HEAD"),
            (Some("refs/pull/7/head"), "review", "HEAD"),
        ] {
            let asked = Origin { url: url.clone(), reference: reference.map(str::to_owned) };
            let commit = checkout(&asked, None, &to).unwrap();
            assert_eq!(fs::read_to_string(to.join("file")).unwrap(), text, "{reference:?}");
            assert_eq!(git(&to, &["rev-parse", "--abbrev-ref", "HEAD"]), head, "{reference:?}");
            assert_eq!(commit.as_deref(), Some(git(&to, &["rev-parse", "HEAD"]).as_str()));
            assert_eq!(git(&to, &["status", "--short"]), "");
            assert_eq!(git(&to, &["remote", "get-url", "origin"]), url);
        }
        for reference in ["nowhere", "refs/heads/nowhere", "0000000000000000000000000000000000000001"] {
            let asked = Origin { url: url.clone(), reference: Some(reference.to_owned()) };
            let error = checkout(&asked, None, &to).unwrap_err();
            assert_eq!(error.code(), "RT-0278", "{error}");
        }
    }

    #[test]
    fn a_repository_without_a_commit_is_checked_out_without_one() {
        let folder = tempfile::tempdir().unwrap();
        let origin = folder.path().join("origin");
        fs::create_dir(&origin).unwrap();
        git(&origin, &["init", "-q", "--bare", "-b", "trunk"]);
        let asked = Origin { url: format!("file://{}", origin.display()), reference: None };
        let to = folder.path().join("checkout");
        assert_eq!(checkout(&asked, None, &to).unwrap(), None);
        assert!(to.join(".git").is_dir());
    }

    #[test]
    fn what_is_no_repository_or_runs_a_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("checkout");
        let touched = folder.path().join("touched");
        let program = format!("ext::touch {}", touched.display());
        for url in ["file:///nowhere/at/all", program.as_str(), "--upload-pack=touch"] {
            let error = checkout(&Origin { url: url.to_owned(), reference: None }, None, &to).unwrap_err();
            assert_eq!(error.code(), "RT-0278", "{error}");
        }
        assert!(!touched.exists());
    }

    #[test]
    fn the_host_and_the_user_of_a_url_are_told_from_what_is_around_them() {
        for (url, expected) in [
            ("https://example.org/a/b", Some(("https://example.org", None))),
            ("HTTP://oauth2@example.org:8080/a@b", Some(("http://example.org:8080", Some("oauth2")))),
            ("https://it's@example.org", Some(("https://example.org", None))),
            ("ssh://git@example.org/a", None),
            ("git@example.org:a/b", None),
            ("file:///a", None),
        ] {
            let found = host_and_user(url);
            assert_eq!(found.as_ref().map(|(host, user)| (host.as_str(), *user)), expected, "{url}");
        }
    }
}

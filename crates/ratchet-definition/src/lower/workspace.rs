//! The files that a run begins with.

use globset::GlobBuilder;
use ratchet_core::{
    workflow::Template,
    workspace::{GitSource, Source, Workspace},
};

use super::{Lowering, fields};
use crate::{check::references::Context, yaml::Node};

/// The stable code of a workspace that cannot be had.
const CODE: &str = "RT-0047";

/// What a repository may be reached by: each is something that git does itself, and none runs a program of the url's choice.
const SCHEMES: [&str; 4] = ["https", "http", "ssh", "file"];

impl<'tree> Lowering<'_, 'tree> {
    /// Where the files come from, and which are left out. `None` where nothing is said, or nothing that makes sense.
    pub(super) fn workspace(&mut self, root: &'tree Node, context: Context<'tree>) -> Option<Workspace> {
        let node = root.get("workspace")?;
        let exclude = self.excluded(node.get("exclude").map(Node::items).unwrap_or_default());
        if node.get("source").and_then(Node::text) != Some("git") {
            for field in ["url", "ref", "credentials"] {
                if let Some(entry) = node.entry(field) {
                    let message = format!("`{field}` means nothing without `source: git`");
                    let help = "add `source: git`, or remove it".to_owned();
                    self.report().error(CODE, entry.key.span.clone(), message, help);
                }
            }
            return Some(Workspace { source: Source::Snapshot, exclude });
        }
        let Some(url) = node.get("url") else {
            let help = "add `url: https://…`, the repository that the run works on".to_owned();
            self.report().error(CODE, node.head(), "`source: git` needs a `url`", help);
            return None;
        };
        self.check_url(url, node.get("credentials").is_some());
        let credentials = fields::text(node, "credentials");
        if let (Some(name), Some(at)) = (&credentials, node.get("credentials"))
            && self.resolver.symbols.secrets.contains(&name.as_str())
        {
            let message = format!("the secret `{name}` is for the checkout alone, and steps may ask for it");
            let help = "remove it from `secrets`, or name another one here".to_owned();
            self.report().error(CODE, at.head(), message, help);
        }
        let reference = node.get("ref").map(|reference| self.known_ahead(reference, context));
        let url = self.known_ahead(url, context)?;
        let source = GitSource { url, reference: reference.flatten(), credentials };
        Some(Workspace { source: Source::Git(Box::new(source)), exclude })
    }

    /// A text that is filled in before there is a file.
    fn known_ahead(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Template> {
        let template = self.template(node, context)?;
        if template.uses.files {
            let message = "no file can be read here: no workspace is there before a run starts";
            self.report().error("RT-0039", node.head(), message, "give it as an input".to_owned());
            return None;
        }
        Some(template)
    }

    /// What of a url is known before it is filled in.
    fn check_url(&mut self, node: &Node, has_credentials: bool) {
        let Some(text) = node.text().map(str::trim) else { return };
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let wrong = match &scheme {
            // What comes before the first value may be all of the url but its end.
            None if text.contains("{{") => None,
            None if is_host_and_path(text) => has_credentials
                .then_some(("credentials are for `https` and `http`", "remove them: ssh has its own keys")),
            None => {
                Some(("this is no url of a repository", "write it whole, as in `https://example.org/team/project`"))
            }
            Some(scheme) if scheme.contains("{{") => None,
            Some(scheme) if !SCHEMES.contains(&scheme.as_str()) => {
                Some(("a repository is not reached so", "use `https`, `http`, `ssh` or `file`"))
            }
            Some(_) if has_password(text) => {
                Some(("this url holds a password", "name a secret with `credentials` and take the password out"))
            }
            Some(scheme) if has_credentials && !scheme.starts_with("http") => Some((
                "credentials are for `https` and `http`",
                "remove them: ssh has its own keys, and files need none",
            )),
            Some(_) => None,
        };
        if let Some((message, help)) = wrong {
            self.report().error(CODE, node.head(), message, help.to_owned());
        }
    }

    fn excluded(&mut self, nodes: &[Node]) -> Vec<String> {
        let mut globs = Vec::with_capacity(nodes.len());
        for node in nodes {
            let Some(text) = node.text() else { continue };
            let clean = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
            let wrong = if clean.is_empty() || clean == "." {
                Some("it would leave everything out".to_owned())
            } else if clean.starts_with('/') || clean.split('/').any(|part| part == "..") {
                Some("paths begin at the workspace's root".to_owned())
            } else if clean.starts_with('!') {
                Some("what one glob leaves out no other brings back".to_owned())
            } else if clean.contains("{{") {
                Some("no value is known before the files are there".to_owned())
            } else {
                GlobBuilder::new(clean).literal_separator(true).build().err().map(|error| error.kind().to_string())
            };
            match wrong {
                Some(reason) => {
                    self.report().error("RT-0045", node.head(), format!("this is no glob: {reason}"), None);
                }
                None => globs.push(text.to_owned()),
            }
        }
        globs
    }
}

/// `git@example.org:team/project`, which is short for a url of ssh.
fn is_host_and_path(text: &str) -> bool {
    let Some((host, path)) = text.split_once(':') else { return false };
    !host.is_empty()
        && !host.starts_with('-')
        && !host.contains(['/', ' '])
        && !path.is_empty()
        && !path.starts_with(':')
}

/// Whether a url has a password in front of its host.
fn has_password(text: &str) -> bool {
    let after = text.split_once("://").map_or("", |(_, rest)| rest);
    let authority = after.split('/').next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

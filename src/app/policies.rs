//! The field policies of a configuration, read together: those that consumers name, `full`, and the special categories.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, POLICIES};
use crate::diagnostic::{Diagnostic, SourceFile};
use crate::disclosure::Policies;
use crate::policy::{CODE, Categories, FULL_POLICY, Policy, SPECIAL_FILE, SPECIAL_TEXT, shipped};

/// What reading the policies of a configuration gave.
pub struct Loaded {
    /// The policies, or every problem of every file.
    pub set: Result<Policies, Vec<Diagnostic>>,
    /// What is remarkable in files that can be used.
    pub warnings: Vec<Diagnostic>,
    /// The files that were asked for, also those that are not there.
    pub files: Vec<PathBuf>,
}

/// The files of the policies that a configuration names.
pub fn files(config: &Config) -> Vec<PathBuf> {
    let mut files = vec![config.root.join(POLICIES).join(SPECIAL_FILE)];
    files.extend(names(config).iter().map(|name| path(config, name)));
    files
}

/// Reads the policies that consumers name.
pub fn load(config: &Config) -> Loaded {
    let mut problems = Vec::new();
    let categories = categories(config, &mut problems);
    let mut policies = Policies { categories: Arc::new(categories), policies: Default::default() };
    for name in names(config) {
        let policy = named(config, &name, &policies.categories, &mut problems);
        policies.policies.extend(policy.map(|policy| (name, Arc::new(policy))));
    }
    let files = files(config);
    if problems.iter().any(Diagnostic::is_error) {
        return Loaded { set: Err(problems), warnings: Vec::new(), files };
    }
    Loaded { set: Ok(policies), warnings: problems, files }
}

/// The policy of this name, whether or not a consumer names it.
///
/// # Errors
/// Every problem of its file and that of the special categories.
pub fn load_named(config: &Config, name: &str) -> Result<(Policy, Categories), Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let categories = categories(config, &mut problems);
    match named(config, name, &categories, &mut problems) {
        Some(policy) if !problems.iter().any(Diagnostic::is_error) => Ok((policy, categories)),
        _ => Err(problems),
    }
}

/// The policy in a file that need not be among the policies of the configuration.
///
/// # Errors
/// Every problem of the file and that of the special categories.
pub fn load_file(config: &Config, file: &Path) -> Result<Policy, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let categories = categories(config, &mut problems);
    let policy = read(config, file, None, &mut problems).and_then(|file| {
        let (policy, found) = Policy::read(&file.name, &file, &categories);
        problems.extend(found);
        policy
    });
    policy.filter(|_| !problems.iter().any(Diagnostic::is_error)).ok_or(problems)
}

fn names(config: &Config) -> Vec<String> {
    let mut names: Vec<String> = config.consumers.iter().map(|consumer| consumer.policy.clone()).collect();
    names.push(FULL_POLICY.to_owned());
    names.sort_unstable();
    names.dedup();
    names
}

fn path(config: &Config, name: &str) -> PathBuf {
    config.root.join(POLICIES).join(format!("{name}.toml"))
}

fn categories(config: &Config, problems: &mut Vec<Diagnostic>) -> Categories {
    let path = config.root.join(POLICIES).join(SPECIAL_FILE);
    let Some(file) = read(config, &path, Some(SPECIAL_TEXT), problems) else { return Categories::default() };
    let (categories, found) = Categories::read(&file);
    problems.extend(found);
    categories.unwrap_or_default()
}

fn named(config: &Config, name: &str, categories: &Categories, problems: &mut Vec<Diagnostic>) -> Option<Policy> {
    // What ships stands in where an installation has no file of its own.
    let file = read(config, &path(config, name), shipped(name), problems)?;
    let (policy, found) = Policy::read(name, &file, categories);
    problems.extend(found);
    policy
}

fn read(config: &Config, path: &Path, built_in: Option<&str>, problems: &mut Vec<Diagnostic>) -> Option<SourceFile> {
    let name = path.strip_prefix(&config.root).unwrap_or(path).display().to_string();
    match (std::fs::read_to_string(path), built_in) {
        (Ok(text), _) => Some(SourceFile { name, text }),
        (Err(error), Some(text)) if error.kind() == ErrorKind::NotFound => {
            Some(SourceFile { name, text: text.to_owned() })
        }
        (Err(error), _) => {
            let problem = Diagnostic::unreadable(name, CODE, format!("cannot be read: {error}"));
            problems.push(problem.hint(format!("policies are {POLICIES}/NAME.toml below {}", config.root.display())));
            None
        }
    }
}

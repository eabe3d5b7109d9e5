//! A site in a temporary directory: configuration, mappings, store. It goes when it is dropped, and nothing of the machine's own site is touched.

mod files;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ulid::Ulid;

use self::files::MAPPINGS;
#[cfg(test)]
pub(super) use self::files::tests;
pub(super) use self::files::{File, files};
use super::load_config;
use crate::config::Config;

/// The temporary directory: configuration, mappings, store.
pub(super) struct Scratch {
    root: PathBuf,
}

impl Scratch {
    /// The configuration's place below the root.
    const CONFIGURATION: &str = "config/heyi.toml";

    /// Makes it, with the mappings that ship. `what` is part of its name.
    ///
    /// # Errors
    /// The temporary directory cannot be written.
    pub(super) fn create(what: &str) -> anyhow::Result<Self> {
        let site = Self { root: std::env::temp_dir().join(format!("heyi-{what}-{}", Ulid::generate())) };
        std::fs::DirBuilder::new().mode(0o700).create(&site.root).with_context(|| site.cannot_write(&site.root))?;
        for File { name, content } in MAPPINGS {
            site.write(&format!("mappings/{name}"), content)?;
        }
        Ok(site)
    }

    fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let path = self.root.join(name);
        let write = || {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::write(&path, content)
        };
        write().with_context(|| self.cannot_write(&path))
    }

    /// Writes the configuration and loads it; its problems are printed.
    ///
    /// # Errors
    /// It cannot be written or used.
    pub(super) fn configure(&self, text: &str) -> anyhow::Result<Config> {
        self.write(Self::CONFIGURATION, text.as_bytes())?;
        load_config(&self.configuration())
    }

    /// The path of a file below it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn cannot_write(&self, path: &Path) -> String {
        format!("{} cannot be written; set TMPDIR to a directory that can", path.display())
    }

    /// The configuration file.
    pub(super) fn configuration(&self) -> PathBuf {
        self.root.join(Self::CONFIGURATION)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover in the temporary directory is the worst that can come of a failure here.
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

//! `heyi token`: who may use the HTTP interface.

use std::path::Path;

use anyhow::bail;
use serde_json::json;

use super::{Verdict, audited, existing_store, load_config, open_store, output};
use crate::app::now;
use crate::audit::Outcome;
use crate::config::{NAME_RULE, is_name};
use crate::http::{Role, Secret};
use crate::store::audit;
use crate::store::tokens::{self, NewToken};
use crate::view::moment;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Make a token; its secret is printed once and kept nowhere.
    Create {
        /// Who bears it; for the role `consumer` the consumer's name.
        name: String,
        /// consumer, engineer, records, auditor or admin.
        #[arg(long)]
        role: Role,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the tokens, without their secrets.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make all tokens of this name useless, at once.
    Revoke {
        /// Who bears them.
        name: String,
    },
}

pub(super) fn run(file: &Path, verb: Verb) -> anyhow::Result<Verdict> {
    let config = load_config(file)?;
    let store = match verb {
        Verb::Create { .. } => open_store(&config)?,
        _ => existing_store(&config)?,
    };
    match verb {
        Verb::Create { name, role, json } => {
            if !is_name(&name) {
                bail!("a token cannot be called so: {NAME_RULE}");
            }
            let known = config.consumers.iter().any(|consumer| consumer.name == name);
            if role == Role::Consumer && !config.consumers.is_empty() && !known {
                let names: Vec<&str> = config.consumers.iter().map(|consumer| consumer.name.as_str()).collect();
                bail!("no consumer is called `{name}`; configured: {}. Add [[consumers]] first", names.join(", "));
            }
            let secret = Secret::generate()?;
            let new = NewToken {
                name: name.clone(),
                role: role.name().to_owned(),
                sha256: secret.digest(),
                created_at: now(),
            };
            audited::change(&store, move |transaction, mut entry| {
                entry.object("token", format_args!("{}:{}", new.role, new.name));
                audit::append(transaction, &entry)?;
                tokens::insert(transaction, &new)
            })?;
            if json {
                output::json(&json!({"name": name, "role": role.name(), "token": secret.reveal()}))?;
            } else {
                output::line(secret.reveal())?;
            }
        }
        Verb::List { json } => {
            let tokens = store.read(tokens::list)?;
            if json {
                let tokens: Vec<_> = tokens
                    .iter()
                    .map(|token| {
                        json!({
                            "name": token.name,
                            "role": token.role,
                            "created_at": moment(token.created_at),
                            "revoked_at": token.revoked_at.map(moment),
                            "last_used_at": token.last_used_at.map(moment),
                        })
                    })
                    .collect();
                output::json(&json!({"tokens": tokens}))?;
            } else {
                let time = |time: Option<i64>| time.map_or_else(|| "-".to_owned(), output::local_time);
                let rows: Vec<Vec<String>> = tokens
                    .into_iter()
                    .map(|token| {
                        let made = output::local_time(token.created_at);
                        vec![token.name, token.role, made, time(token.last_used_at), time(token.revoked_at)]
                    })
                    .collect();
                output::table(&["NAME", "ROLE", "MADE", "LAST USED", "REVOKED"], &rows)?;
            }
        }
        Verb::Revoke { name } => {
            let asked = name.clone();
            let revoked = audited::change(&store, move |transaction, mut entry| {
                let revoked = tokens::revoke(transaction, &asked, now())?;
                entry.object("token", &asked);
                let outcome = if revoked > 0 { Outcome::Ok } else { Outcome::Refused };
                audit::append(transaction, &entry.with(outcome))?;
                Ok(revoked)
            })?;
            output::line(format!("{revoked} revoked"))?;
            if revoked == 0 {
                output::complain(&format!("no valid token is called `{name}`"));
                return Ok(Verdict::Wrong);
            }
        }
    }
    Ok(Verdict::Fine)
}

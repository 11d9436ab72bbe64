//! Another IPAM plugin: found in CNI_PATH, run with our configuration and environment.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use serde_json::Value;

use crate::{
    env::{Environment, Verb},
    error::{Code, Error},
    json::At,
    result::NetworkResult,
};

/// An IPAM plugin that is not ours.
pub struct Plugin {
    name: String,
    program: PathBuf,
}

impl Plugin {
    /// Finds it.
    ///
    /// # Errors
    /// It is in none of the directories of CNI_PATH.
    pub fn find(name: &str, environment: &Environment) -> Result<Self, Error> {
        let found =
            environment.path.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        let Some(program) = found else {
            let folders: Vec<_> =
                environment.path.iter().map(|folder| folder.display().to_string()).collect();
            return Err(Error::new(
                Code::InvalidConfig,
                format!("ipam.type: there is no plugin {name:?} in CNI_PATH"),
            )
            .with_details(format!("CNI_PATH: {}", folders.join(":"))));
        };
        Ok(Self { name: name.to_owned(), program })
    }

    /// ADD: what it gives.
    ///
    /// # Errors
    /// Its own, or that its answer is no result.
    pub fn add(&self, config: &Value) -> Result<NetworkResult, Error> {
        let stdout = self.run(Verb::Add, config)?;
        let fault = |error: &dyn std::fmt::Display| self.broken("answered no result", error);
        let answer: Value = serde_json::from_slice(&stdout).map_err(|error| fault(&error))?;
        let result = NetworkResult::read(&At::root(&answer)).map_err(|error| fault(&error.msg))?;
        if result.ips.is_empty() {
            return Err(self.broken("answered no address", &String::from_utf8_lossy(&stdout)));
        }
        Ok(result)
    }

    /// Any other verb; there is no answer but success.
    ///
    /// # Errors
    /// Its own.
    pub fn call(&self, verb: Verb, config: &Value) -> Result<(), Error> {
        self.run(verb, config).map(drop)
    }

    /// The environment is the one we were called with, but for the verb.
    fn run(&self, verb: Verb, config: &Value) -> Result<Vec<u8>, Error> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::new(Code::Io, format!("running the IPAM plugin {}", self.program.display()))
                .with_details(error.to_string())
        };
        let mut child = Command::new(&self.program)
            .env("CNI_COMMAND", verb.text())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let (stdin, config) = (child.stdin.take(), config.to_string());
        // Beside the reading: a plugin may say much before it reads. Closed at the end, so that the
        // plugin sees the end. One that does not read it all shows by its answer whether that was
        // wise.
        let writer = thread::spawn(move || match stdin {
            Some(mut stdin) => stdin.write_all(config.as_bytes()),
            None => Ok(()),
        });
        let output = child.wait_with_output().map_err(|error| failed(&error))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        Err(match said.as_ref().and_then(|said| self.said(said)) {
            Some(error) => error,
            None => {
                let written = writer.join().unwrap_or(Ok(()));
                let cause = written.err().map(|error| error.to_string());
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                let said = cause.unwrap_or(said);
                self.broken(&format!("failed: {}", output.status), &said)
            }
        })
    }

    /// The plugin's own error.
    fn said(&self, said: &Value) -> Option<Error> {
        let number = u32::try_from(said.get("code")?.as_u64()?).ok()?;
        let text = |key| said.get(key).and_then(Value::as_str).unwrap_or_default();
        let msg = format!("IPAM plugin {}: {}", self.name, text("msg"));
        Some(Error::new(Code::Foreign(number), msg).with_details(text("details")))
    }

    fn broken(&self, what: &str, cause: &dyn std::fmt::Display) -> Error {
        Error::new(Code::IpamPlugin, format!("the IPAM plugin {} {what}", self.name))
            .with_details(cause.to_string())
    }
}

//! What this tool has and the daemon has not, refused by name.

use super::refused::Refused;

fn refused(command: &str, words: &[String], why: &str) -> Refused {
    let words: Vec<_> = words.iter().take_while(|word| !word.starts_with('-')).collect();
    let words: String = words.iter().map(|word| format!(" {word}")).collect();
    Refused::new(format!("operation {command}{words} is not supported: {why}"))
}

/// `calicoctl node`.
pub fn node(words: &[String]) -> Refused {
    match words.first().map(String::as_str) {
        Some("run") => refused(
            "node",
            words,
            "margay-bgpd is a service of the host and no container: systemctl start margay-bgpd",
        ),
        _ => refused("node", words, "there is no such command in this version"),
    }
}

/// `calicoctl cluster`.
pub fn cluster(words: &[String]) -> Refused {
    refused("cluster", words, "it collects from a Kubernetes API, which is not used")
}

/// `calicoctl datastore`.
pub fn datastore(words: &[String]) -> Refused {
    match words.first().map(String::as_str) {
        Some("migrate-policy-names") => refused(
            "datastore",
            words,
            "names of policies are stored without their tier already, and read in both forms",
        ),
        _ => refused("datastore", words, "there is no such command in this version"),
    }
}

#[cfg(test)]
mod tests;

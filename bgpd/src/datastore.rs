//! Opens the datastore that the configuration names.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use bgp_desired::{AuditLog as AuditKey, Backend, Desired, Etcd};
use margay_datastore::{
    AuditLog, Counters, EmbeddedStore, EtcdConfig, EtcdStore, EtcdTls, ObservedStore, Store,
};

/// The embedded datastore, in the state directory.
const FILE: &str = "datastore.redb";
/// How long a request to etcd may take over all members, before the cause is told.
const PATIENCE: Duration = Duration::from_secs(4);

/// Where every write is told, in the state directory unless configured.
const AUDIT: &str = "audit.jsonl";

/// The datastore, and what is counted of it.
#[derive(Debug, Clone)]
pub(crate) struct Datastore {
    /// Reads, watches and changes.
    pub(crate) store: Arc<dyn Store>,
    /// Requests and their times.
    pub(crate) counters: Arc<Counters>,
}

/// Refuses a datastore of this host that is not there: opening makes one.
///
/// # Errors
/// It is not there.
pub(crate) fn must_exist(desired: &Desired) -> Result<()> {
    let path = desired.node.state_dir.join(FILE);
    if desired.datastore.backend == Backend::Embedded && !path.exists() {
        bail!("there is no datastore {}", path.display());
    }
    Ok(())
}

/// The datastore; `None` where the configuration file is all there is.
///
/// # Errors
/// A file that is damaged, cannot be opened, or belongs to another process; a certificate that
/// cannot be read. That etcd does not answer is no error: it may come back.
pub(crate) fn open(desired: &Desired) -> Result<Option<Datastore>> {
    let state_dir = &desired.node.state_dir;
    let inner: Arc<dyn Store> = match &desired.datastore.backend {
        Backend::None => return Ok(None),
        Backend::Embedded => {
            let path = state_dir.join(FILE);
            let store = EmbeddedStore::open(&path)
                .with_context(|| format!("cannot open the datastore {}", path.display()))?;
            Arc::new(store)
        }
        Backend::Etcd(etcd) => {
            Arc::new(EtcdStore::new(config(etcd)?).context("cannot use [datastore]")?)
        }
    };
    let audit = match &desired.datastore.audit_log {
        AuditKey::Off => None,
        AuditKey::StateDir => Some(state_dir.join(AUDIT)),
        AuditKey::File(path) => Some(path.clone()),
    };
    let audit = match audit {
        Some(path) => Some(AuditLog::open(&path).with_context(|| {
            format!("cannot write the audit log {} (datastore.audit-log)", path.display())
        })?),
        None => None,
    };
    let observed = ObservedStore::new(inner, audit);
    let counters = observed.counters();
    Ok(Some(Datastore { store: Arc::new(observed), counters }))
}

fn config(etcd: &Etcd) -> Result<EtcdConfig> {
    let secure = etcd.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
    let tls = if secure {
        let ca = etcd.ca_file.as_deref().map(read).transpose()?;
        let identity = match &etcd.client {
            Some((cert, key)) => Some((read(cert)?, read(key)?)),
            None => None,
        };
        Some(EtcdTls { ca, identity })
    } else {
        None
    };
    let user = etcd
        .user
        .as_ref()
        .map(|user| (user.name.clone(), String::from_utf8_lossy(&user.password.0).into_owned()));
    Ok(EtcdConfig {
        endpoints: etcd.endpoints.clone(),
        prefix: etcd.prefix.clone(),
        tls,
        user,
        patience: PATIENCE,
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

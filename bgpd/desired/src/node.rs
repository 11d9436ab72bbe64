//! `[node]`, `[api]`, `[http]`.

use std::path::PathBuf;

use crate::{
    ReadSecret,
    datastore::Datastore,
    desired::{Api, Http, LogLevel, Node},
    reader::{Entry, Section},
    registration, sync,
};

/// Octets of a Unix socket's path, without the closing zero.
const MAX_SOCKET_PATH: usize = 107;

/// `datastore` decides whether the node registers by itself; `None` where it could not be read.
pub(crate) fn node(root: &mut Section<'_>, datastore: Option<&Datastore>) -> Option<Node> {
    let mut node = Node::default();
    node.registration.enabled = registration::by_default(datastore);
    let Some(entry) = root.entry("node") else { return Some(node) };
    let mut section = entry.section()?;
    let name = section.entry("name");
    node.name = name.as_ref().and_then(|entry| word(entry, "a name"));
    node.registration = registration::read(&mut section, datastore);
    if node.registration.enabled {
        registration::check_name(name.as_ref(), node.name.as_deref());
    }
    if let Some(path) = section.entry("state-dir").and_then(|entry| path(&entry)) {
        node.state_dir = path;
    }
    node.secrets_dir = section.entry("secrets-dir").and_then(|entry| path(&entry));
    node.log_level = section.entry("log-level").and_then(|entry| entry.one_of(&LogLevel::WORDS));
    section.finish();
    Some(node)
}

pub(crate) fn api(root: &mut Section<'_>, read_secret: ReadSecret<'_>) -> Option<Api> {
    let mut api = Api::default();
    let Some(entry) = root.entry("api") else { return Some(api) };
    let mut section = entry.section()?;
    if let Some(entry) = section.entry("socket")
        && let Some(path) = path(&entry)
    {
        let len = path.as_os_str().len();
        if len > MAX_SOCKET_PATH {
            entry.fault(format_args!("{len} octets, allowed: at most {MAX_SOCKET_PATH}"));
        }
        api.socket = path;
    }
    let listen = section.entry("listen");
    if let Some(listen) = &listen {
        api.listen = listen.standard("an address with port like \"10.0.0.1:9180\"");
    }
    match (&listen, section.entry("tls")) {
        (_, Some(entry)) => api.tls = sync::tls(&entry, read_secret),
        (Some(listen), None) => {
            listen.fault("needs cert, key and ca in [api.tls]: nobody unknown is answered there");
        }
        (None, None) => {}
    }
    section.finish();
    Some(api)
}

pub(crate) fn http(root: &mut Section<'_>) -> Option<Http> {
    let mut http = Http::default();
    let Some(entry) = root.entry("http") else { return Some(http) };
    let mut section = entry.section()?;
    if let Some(entry) = section.entry("listen") {
        if entry.as_str() == Some("") {
            http.listen = None;
        } else if let Some(listen) =
            entry.standard("an address with port like \"127.0.0.1:9179\", or \"\" for none")
        {
            http.listen = Some(listen);
        }
    }
    section.finish();
    Some(http)
}

/// A name that can be a command's argument and a metric's label.
pub(crate) fn word(entry: &Entry<'_>, what: &str) -> Option<String> {
    const MOST: usize = 128;
    let text = entry.string(what)?;
    let fits = !text.is_empty() && text.len() <= MOST;
    if fits && !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Some(text.to_owned());
    }
    entry.expected(format_args!("{what}, 1 to {MOST} octets without spaces"));
    None
}

pub(crate) fn path(entry: &Entry<'_>) -> Option<PathBuf> {
    let text = entry.string("a path")?;
    if text.is_empty() || text.contains('\0') {
        entry.expected("a path");
        return None;
    }
    Some(text.into())
}

//! `calicoctl convert`: what stands in files, as resources of this API.

use std::io;

use serde_json::{Value, json};

use super::{cli::ConvertArgs, refused::Refused, resources};
use crate::output;

/// Prints the resources: one bare, several in a list.
///
/// # Errors
/// What is wrong with the files.
pub fn run(args: &ConvertArgs) -> Result<(), Refused> {
    if args.ignore_validation {
        return Err(Refused::new("--ignore-validation is not supported"));
    }
    let read = resources::read(&args.files, &args.space)?;
    let mut objects: Vec<Value> = read.iter().map(|resource| resource.to_json()).collect();
    let object = match (objects.pop(), objects.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            objects.extend(last);
            json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": objects })
        }
    };
    let mut stdout = io::BufWriter::new(io::stdout());
    if args.output == "json" {
        output::json::object(&object, &mut stdout)?;
    } else {
        output::yaml::object(&object, &mut stdout)?;
    }
    Ok(io::Write::flush(&mut stdout)?)
}

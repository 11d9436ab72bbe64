//! `margay.v1.Config`.

use bgp_desired::{Impact, Step};
use margay_proto::v1::{self, config_server};
use tokio::sync::oneshot;
use tonic::{Request as Call, Response, Status};

use super::{Node, unavailable};
use crate::reload::{ReloadError, Request, Text};

/// The service.
#[derive(Debug)]
pub(super) struct Config(pub(super) Node);

impl Config {
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, ReloadError>>) -> Request,
    ) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        self.0.requests.send(request(reply)).await.map_err(|_| unavailable())?;
        match answer.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(ReloadError::Invalid(faults))) => Err(Status::invalid_argument(faults.lines())),
            Ok(Err(ReloadError::Kernel(text))) => Err(Status::failed_precondition(text)),
            Err(_) => Err(unavailable()),
        }
    }
}

fn text(source: Option<v1::ConfigText>) -> Text {
    source.map(|source| (source.file_name, source.text))
}

#[tonic::async_trait]
impl config_server::Config for Config {
    async fn show(
        &self,
        call: Call<v1::ShowRequest>,
    ) -> Result<Response<v1::ShowResponse>, Status> {
        let text = text(call.into_inner().source);
        let own = text.is_none();
        let text = self.ask(|reply| Request::Show(text, reply)).await?;
        let file_name = self.0.config_file.as_ref().filter(|_| own).map(ToString::to_string);
        Ok(Response::new(v1::ShowResponse { text, file_name }))
    }

    async fn diff(
        &self,
        call: Call<v1::DiffRequest>,
    ) -> Result<Response<v1::DiffResponse>, Status> {
        let text = text(call.into_inner().source);
        let steps = self.ask(|reply| Request::Diff(text, reply)).await?;
        Ok(Response::new(v1::DiffResponse { changes: steps.iter().map(change).collect() }))
    }

    async fn reload(
        &self,
        call: Call<v1::ReloadRequest>,
    ) -> Result<Response<v1::ReloadResponse>, Status> {
        let text = text(call.into_inner().source);
        let steps = self.ask(|reply| Request::Reload(text, reply)).await?;
        Ok(Response::new(v1::ReloadResponse { changes: steps.iter().map(change).collect() }))
    }
}

fn change(step: &Step) -> v1::ConfigChange {
    let impact = match step.impact {
        Impact::Live => v1::ChangeImpact::Live,
        Impact::Soft => v1::ChangeImpact::Soft,
        Impact::Reset => v1::ChangeImpact::Reset,
        Impact::Restart => v1::ChangeImpact::Restart,
    };
    v1::ConfigChange {
        kind: step.kind.as_str().to_owned(),
        subject: step.subject.clone(),
        impact: impact.into(),
        text: step.text.clone(),
    }
}

//! Making an organization: a tenant. Only the system does; people are invited into one.

use domain::organization::{Organization, OrganizationCommand};
use domain::{ErrorCode, Refusal, TenantId, UserId};

use crate::app::App;
use crate::context::{Ctx, Principal};
use crate::shell::{self, Target};

/// Makes an organization that `owner` owns.
///
/// # Errors
/// `PermissionDenied` for everybody but the system; `InvalidArgument` for the name.
pub async fn create_organization(
    app: &App,
    ctx: &Ctx,
    name: &str,
    owner: UserId,
) -> Result<TenantId, Refusal> {
    if ctx.principal != Principal::System {
        let message = "only the operator makes organizations";
        return Err(Refusal::new(ErrorCode::PermissionDenied, message));
    }
    let tenant = TenantId::from_uuid(app.new_id());
    let target = Target::of::<Organization>(tenant, tenant);
    shell::execute::<Organization>(app, ctx, target, |state| {
        let create = OrganizationCommand::Create { name: name.to_owned(), owner };
        Ok(domain::organization::decide(state, create)?.into())
    })
    .await?;
    Ok(tenant)
}

//! What can be asked of the control plane: one use case per file.
//!
//! Each takes the [`App`](crate::App) and the [`Ctx`](crate::Ctx), authorizes, and answers with
//! a view or a [`Refusal`](domain::Refusal). Members with too small a role are denied and the
//! denial is recorded; what is not the caller's is not found.

pub mod api_key_create;
pub mod api_key_list;
pub mod api_key_revoke;
pub mod audit_list;
pub mod authorize;
pub mod bootstrap;
pub mod call_get;
pub mod call_list;
pub mod denial;
pub mod login;
pub mod member_list;
pub mod member_remove;
pub mod member_set;
pub mod operator_token;
pub mod organization_create;
pub mod project_create;
pub mod project_delete;
pub mod project_get;
pub mod project_list;
pub mod project_update;
pub(crate) mod sealing;
pub mod server_create;
pub mod server_delete;
pub mod server_get;
pub mod server_list;
pub mod server_log;
pub mod server_reveal;
pub mod server_set_enabled;
pub mod server_set_tool;
pub mod server_test;
pub mod server_tools;
pub mod server_update;
pub mod tool_approve;
pub mod user_register;

pub use api_key_create::{CreateApiKey, CreatedApiKey, create_api_key};
pub use api_key_list::list_api_keys;
pub use api_key_revoke::{RevokeApiKey, revoke_api_key};
pub use audit_list::{AuditFilter, list_audit};
pub use bootstrap::{Bootstrap, Bootstrapped, FirstOwner, bootstrap};
pub use call_get::get_call;
pub use call_list::{CallFilter, list_calls};
pub use login::{Login, Session, login};
pub use member_list::list_members;
pub use member_remove::{RemoveMember, remove_member};
pub use member_set::{SetMember, UserRef, set_member};
pub use operator_token::operator_token;
pub use organization_create::create_organization;
pub use project_create::{CreateProject, create_project};
pub use project_delete::{DeleteProject, delete_project};
pub use project_get::get_project;
pub use project_list::list_projects;
pub use project_update::{UpdateProject, update_project};
pub use server_create::{CreateServer, create_server};
pub use server_delete::{DeleteServer, delete_server};
pub use server_get::get_server;
pub use server_list::list_servers;
pub use server_log::server_log;
pub use server_reveal::{RevealedServer, reveal_servers};
pub use server_set_enabled::{SetServerEnabled, set_server_enabled};
pub use server_set_tool::{SetToolEnabled, set_tool_enabled};
pub use server_test::{TestReport, TestStep, test_server};
pub use server_tools::list_tools;
pub use server_update::{UpdateServer, update_server};
pub use tool_approve::{ApproveTool, ApprovedTool, Approving, approve_tool};
pub use user_register::{RegisterUser, create_user, register_user};

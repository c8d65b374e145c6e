//! `fleetctl roles`: the roles of every organization, and those that this one made.

use clap::{Args, Subcommand};
use reqwest::Method;
use wire::{
    Permission, RoleName,
    api::{ChangeRole, NewRole, RoleInfo},
};

use crate::{flags::Output, output::Table, prompt, session::Session};

/// Lists, creates, changes and deletes roles
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl roles list
  fleetctl roles create help-desk --permission devices:read,users:read
  fleetctl roles update help-desk --add-permission teams:read")]
pub(crate) enum RolesCommand {
    /// Lists roles with their permissions
    #[command(visible_alias = "ls", after_help = "Examples:\n  fleetctl roles list --output json")]
    List(Output),
    /// Creates a role of the permissions that there are
    #[command(after_help = "\
Examples:
  fleetctl roles create help-desk --permission devices:read,users:read
  fleetctl roles create member")]
    Create(CreateArgs),
    /// Changes what a role grants to everybody who has it, or what it is for
    #[command(after_help = "\
Examples:
  fleetctl roles update help-desk --add-permission teams:read
  fleetctl roles update help-desk --permissions devices:read,users:read
  fleetctl roles update help-desk --name support
  fleetctl roles update help-desk --description \"First line of support\"")]
    Update(UpdateArgs),
    /// Deletes a role that nobody has
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  fleetctl roles delete help-desk --yes"
    )]
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Role's name: a-z, 0-9, - and _
    name: RoleName,
    /// Permission that it grants, e.g. devices:read; may be repeated. Without any, its people may do
    /// what their roles in teams allow
    #[arg(long = "permission", value_name = "PERMISSION", value_delimiter = ',')]
    permissions: Vec<Permission>,
    /// What the role is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Role's name
    name: RoleName,
    /// Permission to grant besides, e.g. teams:read; may be repeated
    #[arg(long = "add-permission", value_name = "PERMISSION", value_delimiter = ',',
        required_unless_present_any = ["remove_permissions", "permissions", "description", "rename"])]
    add_permissions: Vec<Permission>,
    /// Permission to grant no longer; may be repeated
    #[arg(long = "remove-permission", value_name = "PERMISSION", value_delimiter = ',')]
    remove_permissions: Vec<Permission>,
    /// All permissions that it grants from here on, instead of those so far; without a value, none
    #[arg(long, value_name = "PERMISSIONS", value_delimiter = ',', num_args = 0..=1,
        conflicts_with_all = ["add_permissions", "remove_permissions"])]
    permissions: Option<Vec<Permission>>,
    /// What the role is for; an empty text takes it away
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// What the role is called from here on, for everybody who has it
    #[arg(long = "name", value_name = "NAME")]
    rename: Option<RoleName>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Role's name
    name: RoleName,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(command: RolesCommand, session: &Session) -> anyhow::Result<()> {
    let mut client = session.client()?;
    match command {
        RolesCommand::List(output) => {
            let roles: Vec<RoleInfo> = client.list("/roles", &[]).await?;
            session.shell.data(output.format, &roles, |roles| table(roles))
        }
        RolesCommand::Create(args) => {
            let CreateArgs { name, permissions, description, output } = args;
            let description = description.unwrap_or_default();
            let new = NewRole { name, description, permissions };
            let role: RoleInfo = client.create("/roles", &new).await?;
            if session.shell.is_quiet() {
                return session.shell.line(role.name);
            }
            session.shell.data(output.format, &role, |role| table(std::slice::from_ref(role)))
        }
        RolesCommand::Update(args) => {
            let path = format!("/roles/{}", args.name);
            let change = ChangeRole {
                name: args.rename,
                description: args.description,
                permissions: args.permissions,
                add_permissions: args.add_permissions,
                remove_permissions: args.remove_permissions,
            };
            let role: RoleInfo = client.change(Method::PATCH, &path, &change).await?;
            session.shell.data(args.output.format, &role, |role| table(std::slice::from_ref(role)))
        }
        RolesCommand::Delete(args) => {
            prompt::confirm(args.yes, &format!("Delete role `{}`?", args.name))?;
            client.delete(&format!("/roles/{}", args.name)).await?;
            session.shell.done(format!("role `{}` is deleted", args.name));
            Ok(())
        }
    }
}

fn table(roles: &[RoleInfo]) -> Table {
    Table::list(
        ["name", "built in", "description", "permissions"],
        roles.iter().map(|role| {
            let permissions: Vec<_> = role.permissions.iter().map(|it| it.as_str()).collect();
            let built_in = if role.built_in { "yes" } else { "" };
            let description = role.description.clone();
            [role.name.to_string(), built_in.to_owned(), description, permissions.join(",")]
        }),
    )
}

//! `fleetctl roles`: the roles of every organization, and those that this one made.

use clap::{Args, Subcommand};
use wire::{
    Permission, RoleName,
    api::{NewRole, RoleInfo},
};

use crate::{flags::Output, output::Table, prompt, session::Session};

/// Lists, creates and deletes roles
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl roles list
  fleetctl roles create help-desk --permission devices:read,users:read")]
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
            let new = NewRole { name: args.name, permissions: args.permissions };
            let role: RoleInfo = client.create("/roles", &new).await?;
            if session.shell.is_quiet() {
                return session.shell.line(role.name);
            }
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
        ["name", "built in", "permissions"],
        roles.iter().map(|role| {
            let permissions: Vec<_> = role.permissions.iter().map(|it| it.as_str()).collect();
            let built_in = if role.built_in { "yes" } else { "" };
            [role.name.to_string(), built_in.to_owned(), permissions.join(",")]
        }),
    )
}

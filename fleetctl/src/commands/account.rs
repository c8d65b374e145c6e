//! `fleetctl account`: one's own account.

use clap::{Args, Subcommand};
use wire::api::{
    AcceptInvitation, ChangeEmail, ChangePassword, ClientKind, CurrentUser, EmailRequest, Hidden,
    LoginRequest, ResetPassword, VerifyEmail,
};

use super::{login::Reach, setup::OwnerArgs};
use crate::{
    client::{Access, Client},
    exit::Stop,
    flags::Output,
    output::Table,
    prompt,
    session::Session,
};

/// Shows and changes your own account
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl account show
  fleetctl account change-password
  fleetctl account accept-invitation --url https://fleet.example.com --name Bob")]
pub(crate) enum AccountCommand {
    /// Shows who you are and what you may do
    #[command(after_help = "Examples:\n  fleetctl account show --output json")]
    Show(Output),
    /// Sets another password; the present one is asked for
    #[command(after_help = "\
Examples:
  fleetctl account change-password --end-other-sessions
  printf '%s\\n' \"$OLD\" \"$NEW\" | fleetctl account change-password --stdin")]
    ChangePassword(ChangePasswordArgs),
    /// Asks for another address; the mail that goes there confirms it
    #[command(after_help = "Examples:\n  fleetctl account change-email ann@example.org")]
    ChangeEmail(ChangeEmailArgs),
    /// Sets another password where the present one is too old to sign in with
    #[command(after_help = "\
Examples:
  fleetctl account renew-password --url https://fleet.example.com --email ann@example.com")]
    RenewPassword(RenewArgs),
    /// Asks for a mail to set another password with
    #[command(after_help = "\
Examples:
  fleetctl account forgot-password --url https://fleet.example.com --email ann@example.com")]
    ForgotPassword(AddressArgs),
    /// Sets another password with the token from a mail
    #[command(after_help = "\
Examples:
  fleetctl account reset-password --url https://fleet.example.com")]
    ResetPassword(TokenArgs),
    /// Asks for an account and an organization of your own, where the server allows that
    #[command(after_help = "\
Examples:
  fleetctl account register --url https://fleet.example.com --email ann@example.com --name Ann \\
      --organization Example")]
    Register(RegisterArgs),
    /// Confirms an address with the token from a mail
    #[command(after_help = "\
Examples:
  fleetctl account verify-email --url https://fleet.example.com")]
    VerifyEmail(TokenArgs),
    /// Asks for the mail of `register` once more
    #[command(after_help = "\
Examples:
  fleetctl account resend --url https://fleet.example.com --email ann@example.com")]
    Resend(AddressArgs),
    /// Joins an organization with the token of an invitation
    ///
    /// Who has an account on the server keeps its name and password, and gives that password.
    #[command(after_help = "\
Examples:
  fleetctl account accept-invitation --url https://fleet.example.com --name Bob
  fleetctl account accept-invitation --url https://fleet.example.com --have-account")]
    AcceptInvitation(AcceptArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ChangePasswordArgs {
    /// End every other session of yours
    #[arg(long)]
    end_other_sessions: bool,
    /// Read from standard input instead of asking: the present password, the new one
    #[arg(long)]
    stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ChangeEmailArgs {
    /// Address to have
    email: String,
    /// Read the password from standard input instead of asking
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    #[command(flatten)]
    reach: Reach,
    /// Email address; asked for unless given
    #[arg(long)]
    email: Option<String>,
    /// Read from standard input instead of asking: the present password, the new one
    #[arg(long)]
    stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AddressArgs {
    #[command(flatten)]
    reach: Reach,
    /// Email address; asked for unless given
    #[arg(long)]
    email: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    reach: Reach,
    /// Read from standard input instead of asking: the token, and a new password if one is set
    #[arg(long)]
    stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    owner: OwnerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    #[command(flatten)]
    reach: Reach,
    /// Your name; asked for unless given
    #[arg(long, conflicts_with = "have_account")]
    name: Option<String>,
    /// You have an account on this server
    #[arg(long)]
    have_account: bool,
    /// Read from standard input instead of asking: the token, and the password of your account or of the new one
    #[arg(long)]
    stdin: bool,
}

const MAIL_WILL_TELL: &str = "if there is something to send, a mail is on its way";

pub(crate) async fn run(command: AccountCommand, session: &Session) -> anyhow::Result<()> {
    match command {
        AccountCommand::Show(output) => show(output, session).await,
        AccountCommand::ChangePassword(args) => change_password(args, session).await,
        AccountCommand::ChangeEmail(args) => change_email(args, session).await,
        AccountCommand::RenewPassword(args) => renew_password(args, session).await,
        AccountCommand::ForgotPassword(args) => {
            ask_for_mail(args, "/auth/forgot-password", session).await
        }
        AccountCommand::Resend(args) => {
            ask_for_mail(args, "/auth/verify-email/resend", session).await
        }
        AccountCommand::ResetPassword(args) => reset_password(args, session).await,
        AccountCommand::Register(args) => register(args, session).await,
        AccountCommand::VerifyEmail(args) => verify_email(args, session).await,
        AccountCommand::AcceptInvitation(args) => accept(args, session).await,
    }
}

async fn show(output: Output, session: &Session) -> anyhow::Result<()> {
    let user: CurrentUser = session.client()?.read("/auth/user").await?;
    session.shell.data(output.format, &user, |user| {
        let permissions: Vec<_> = user.permissions.iter().map(|it| it.as_str()).collect();
        Table::properties([
            ("Email", user.email.clone()),
            ("Name", user.name.clone()),
            ("Organization", user.organization.clone()),
            ("Role", user.role.to_string()),
            ("Permissions", permissions.join(",")),
            ("Id", user.id.to_string()),
        ])
    })
}

async fn change_password(args: ChangePasswordArgs, session: &Session) -> anyhow::Result<()> {
    let mut client = session.client()?;
    let request = ChangePassword {
        current_password: prompt::password(args.stdin)?,
        new_password: prompt::new_password(args.stdin)?,
        end_other_sessions: args.end_other_sessions,
    };
    client.tell("/auth/password", &request).await?;
    session.shell.done("the password is changed");
    Ok(())
}

async fn change_email(args: ChangeEmailArgs, session: &Session) -> anyhow::Result<()> {
    let current_password = prompt::password(args.password_stdin)?;
    let request = ChangeEmail { email: args.email, current_password };
    session.client()?.tell("/auth/email", &request).await?;
    session
        .shell
        .done("a mail to the new address is on its way; until it is confirmed, the old one stays");
    Ok(())
}

async fn renew_password(args: RenewArgs, session: &Session) -> anyhow::Result<()> {
    let mut client = stranger(&args.reach, session)?;
    let login = LoginRequest {
        email: prompt::text(args.email, "Email: ", "--email")?,
        password: prompt::password(args.stdin)?,
        client: ClientKind::Cli,
    };
    let problem = client.refused("/auth/login", &login).await?;
    let token = problem.and_then(|problem| problem.change_token).ok_or_else(|| {
        Stop::failed("the password is not too old", "use `fleetctl account change-password`")
    })?;
    let new_password = prompt::new_password(args.stdin)?;
    client.tell("/auth/reset-password", &ResetPassword { token, new_password }).await?;
    session.shell.done("the password is changed; sign in with `fleetctl login`");
    Ok(())
}

async fn ask_for_mail(args: AddressArgs, path: &str, session: &Session) -> anyhow::Result<()> {
    let mut client = stranger(&args.reach, session)?;
    let email = prompt::text(args.email, "Email: ", "--email")?;
    client.tell(path, &EmailRequest { email }).await?;
    session.shell.done(MAIL_WILL_TELL);
    Ok(())
}

async fn reset_password(args: TokenArgs, session: &Session) -> anyhow::Result<()> {
    let mut client = stranger(&args.reach, session)?;
    let token = token(args.stdin)?;
    let new_password = prompt::new_password(args.stdin)?;
    client.tell("/auth/reset-password", &ResetPassword { token, new_password }).await?;
    session
        .shell
        .done("the password is changed and every session ended; sign in with `fleetctl login`");
    Ok(())
}

async fn register(args: RegisterArgs, session: &Session) -> anyhow::Result<()> {
    let mut client = stranger(&args.reach, session)?;
    client.tell("/auth/register", &args.owner.request(None)?).await?;
    session.shell.done("a mail is on its way; what it says confirms your address");
    Ok(())
}

async fn verify_email(args: TokenArgs, session: &Session) -> anyhow::Result<()> {
    let mut client = stranger(&args.reach, session)?;
    client.tell("/auth/verify-email", &VerifyEmail { token: token(args.stdin)? }).await?;
    session.shell.done("the address is yours; sign in with `fleetctl login`");
    Ok(())
}

async fn accept(args: AcceptArgs, session: &Session) -> anyhow::Result<()> {
    let mut client = stranger(&args.reach, session)?;
    let token = token(args.stdin)?;
    let request = if args.have_account {
        let password = if args.stdin {
            prompt::stdin_line()?
        } else {
            prompt::ask_hidden("Password of your account: ", "--stdin")?
        };
        AcceptInvitation { token, name: None, password: Some(password) }
    } else {
        let name = prompt::text(args.name, "Your name: ", "--name or --have-account")?;
        let password = prompt::new_password(args.stdin)?;
        AcceptInvitation { token, name: Some(name), password: Some(password) }
    };
    client.tell("/auth/accept-invitation", &request).await?;
    session.shell.done("you are in; sign in with `fleetctl login`");
    Ok(())
}

/// A client for who is not signed in.
fn stranger(reach: &Reach, session: &Session) -> anyhow::Result<Client> {
    let (server, trust) = reach.resolve(session)?;
    Client::new(server, &trust, Access::Nobody)
}

fn token(from_stdin: bool) -> anyhow::Result<Hidden> {
    if from_stdin { prompt::stdin_line() } else { prompt::ask_hidden("Token: ", "--stdin") }
}

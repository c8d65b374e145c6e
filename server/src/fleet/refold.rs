//! Addresses of accounts that an older version has stored in another form than the one they are compared in,
//! and that are not found therefore. No SQL knows that form, so a server brings them into it when it starts.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use serde_json::json;
use wire::{OrgId, UserId};

use super::{
    Access, Fleet, StoreError,
    audit::{Event, EventKind},
    identity::fold_email,
    store::Keyset,
};

/// How many people are read at a time.
const PAGE: i64 = 500;

/// Where the server's own deeds come from.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// People by id, each with an organization of theirs and the address that is stored.
type People = BTreeMap<UserId, (OrgId, String)>;

impl Fleet {
    /// Brings every stored address into the form of [`fold_email`], if none did before. Accounts whose
    /// addresses would become one keep them: which is whose, people decide. Each start tells of them, and
    /// looks again, until there are none.
    pub(super) async fn refold_addresses(&self) -> Result<(), StoreError> {
        let known = self.0.store.address_clashes().await?;
        if known.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let known = known.unwrap_or_default();
        let mut clashes = Vec::new();
        for (folded, people) in self.old_addresses().await? {
            let Some(clash) = self.refold(&folded, &people).await? else { continue };
            self.tell_of_clash(&clash, known.contains(&clash)).await?;
            clashes.push(clash);
        }
        self.0.store.note_address_clashes(&clashes, self.now()).await
    }

    /// Whoever's address is stored in another form, by the form that it is compared in.
    async fn old_addresses(&self) -> Result<BTreeMap<String, People>, StoreError> {
        let mut old: BTreeMap<String, People> = BTreeMap::new();
        for org_id in self.0.store.organizations().await? {
            let mut page = Keyset { after: String::new(), limit: PAGE };
            loop {
                let mut org = self.0.store.org(org_id, Access::Read).await?;
                let people = org.users(&page).await?;
                org.commit().await?;
                let Some(last) = people.last() else { break };
                page.after = last.id.to_string();
                for user in people {
                    let folded = fold_email(&user.email);
                    if folded != user.email {
                        old.entry(folded).or_default().insert(user.id, (org_id, user.email));
                    }
                }
            }
        }
        Ok(old)
    }

    /// Gives the one person with such an address its form of today. Where it would be that of several,
    /// none gets it, and all are named.
    async fn refold(
        &self,
        folded: &str,
        people: &People,
    ) -> Result<Option<Vec<UserId>>, StoreError> {
        let claimants = self.claimants(folded, people).await?;
        let [user_id] = claimants[..] else { return Ok(Some(claimants)) };
        let Some((org_id, before)) = people.get(&user_id) else { return Ok(None) };
        match self.write_folded((*org_id, user_id), (before, folded)).await {
            // Somebody made an account with it just now.
            Err(error) if error.is_duplicate() => self.claimants(folded, people).await.map(Some),
            written => written.map(|()| None),
        }
    }

    /// Whose address that form would be, and whose it is, by id.
    async fn claimants(&self, folded: &str, people: &People) -> Result<Vec<UserId>, StoreError> {
        let holder = self.0.store.account_of(folded).await?.map(|account| account.user_id);
        let ids: BTreeSet<UserId> = people.keys().copied().chain(holder).collect();
        Ok(ids.into_iter().collect())
    }

    /// Writes an address, and that it was written to the trail of each organization of its person. What was
    /// mailed to the other spelling ends: a reset of the password would show that as theirs, and write it back.
    async fn write_folded(
        &self,
        (org_id, user_id): (OrgId, UserId),
        (before, after): (&str, &str),
    ) -> Result<(), StoreError> {
        let others = self.0.store.organizations_of(user_id).await?;
        let orgs: BTreeSet<OrgId> = others.into_iter().chain([org_id]).collect();
        let mut org = self.0.store.org(org_id, Access::Write).await?;
        org.lock_person(user_id).await?;
        // Another server that starts may have done it.
        if !org.refold_email(user_id, (before, after)).await? {
            return Ok(());
        }
        let subject = format!("user {user_id}");
        let mut tx = org.leave();
        tx.forget_tokens(user_id, None).await?;
        for org_id in orgs {
            let mut org = tx.within(org_id).await?;
            let changes = json!({"before": before, "after": after});
            let event = Event { changes, ..event(&subject, "ok") };
            self.record_in(&mut org, &event);
            tx = org.leave();
        }
        tx.keep().await
    }

    /// Says that accounts have one address between them; in the trail, once.
    async fn tell_of_clash(&self, clash: &[UserId], is_known: bool) -> Result<(), StoreError> {
        let ids: Vec<_> = clash.iter().map(ToString::to_string).collect();
        let ids = ids.join(" and ");
        tracing::warn!(
            user.ids = ids,
            "these accounts have one address, in different spellings, and none of them was changed: \
             delete the others, or give them other addresses, and start the server again"
        );
        if is_known {
            return Ok(());
        }
        self.record(None, &event(&format!("users {ids}"), "taken")).await
    }
}

fn event<'a>(subject: &'a str, outcome: &'a str) -> Event<'a> {
    Event {
        name: EventKind::AccountEmailRefolded,
        actor: "server",
        subject,
        address: NOWHERE,
        outcome,
        changes: serde_json::Value::Null,
    }
}

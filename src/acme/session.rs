//! The talk with an authority: an account, and orders of it.

use std::{path::PathBuf, time::Duration};

use instant_acme::{
    Account, AccountBuilder, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder,
    Order, OrderStatus, RetryPolicy,
};

use super::{Failure, dns, failure, plan::Challenge, reach::Here};
use crate::{
    Error, Result,
    certificate::{self, Certificate, KeyPair},
    context::Context,
    instance::value_of,
    model::{Actor, AppName, CertificateKind, Change, Domain, Outcome, Subject, Trouble, property},
    proxy, settings,
    store::NewCertificate,
};

/// How the authority is asked again and again until it has looked, or has signed.
const POLL: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(300)).backoff(1.5).timeout(Duration::from_secs(120));
/// How long all of one order may take.
const ORDER: Duration = Duration::from_secs(8 * 60);

/// What the administrator said about the authority.
pub(super) struct Terms {
    pub directory: String,
    contact: String,
    agrees: bool,
    root: Option<PathBuf>,
    pub command: Option<dns::Setter>,
}

impl Terms {
    pub fn read(context: &Context<'_>) -> Result<Terms> {
        let instance = context.instance;
        let value = |property| instance.read(|tables| value_of(&instance.settings, tables, property, None));
        let text = |property| {
            Ok::<_, Error>(match value(property)? {
                Some(property::Value::Text(text)) => Some(text),
                _ => None,
            })
        };
        Ok(Terms {
            directory: text(&property::ACME_DIRECTORY)?.unwrap_or_default(),
            contact: text(&property::ACME_CONTACT)?.unwrap_or_default(),
            agrees: instance.is_on(&property::ACME_AGREE)?,
            root: text(&property::ACME_ROOT)?.map(PathBuf::from),
            command: match text(&property::ACME_DNS_COMMAND)? {
                Some(command) => Some(dns::Setter::new(&command, instance.number(&property::ACME_DNS_WAIT, None)?)?),
                None => None,
            },
        })
    }

    fn builder(&self) -> Result<AccountBuilder, Failure> {
        let made = match &self.root {
            Some(root) => Account::builder_with_root(root),
            None => Account::builder(),
        };
        made.map_err(|error| match &self.root {
            Some(root) => {
                let reason = format!("acme_root, {}, is not a certificate in PEM: {error}", root.display());
                Failure::new(Trouble::Account, reason).of_all()
            }
            None => Failure::of_talk(&error),
        })
    }
}

/// What failed: what belongs to names, or this program.
pub(super) enum Failed {
    /// Each of these names, and why. None of the others was looked at to the end.
    Names(Vec<(Domain, Failure)>),
    /// All names of the order alike.
    Order(Failure),
    /// Something of ours.
    Own(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Own(error)
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Failed {
        Failed::Order(failure)
    }
}

impl From<instant_acme::Error> for Failed {
    fn from(error: instant_acme::Error) -> Failed {
        Failed::Order(Failure::of_talk(&error))
    }
}

/// An account that is logged in.
pub(super) struct Session<'a> {
    context: &'a Context<'a>,
    pub terms: &'a Terms,
    here: &'a Here,
    account: Account,
}

impl<'a> Session<'a> {
    /// Logs in to the authority, with an account made for it where there is none.
    pub async fn open(context: &'a Context<'a>, terms: &'a Terms, here: &'a Here) -> Result<Session<'a>, Failed> {
        let instance = context.instance;
        let directory = terms.directory.clone();
        let (kept, known) = instance.read(|tables| {
            if tables.has_acme_credentials(&directory)? {
                instance.secrets.require_key(tables)?;
            }
            Ok((tables.acme_credentials(&directory)?, tables.acme_account(&directory)?))
        })?;
        let contact: Vec<String> =
            (!terms.contact.is_empty()).then(|| format!("mailto:{}", terms.contact)).into_iter().collect();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let kept =
            kept.map(|kept| serde_json::from_str::<AccountCredentials>(&kept).map_err(Error::bug)).transpose()?;
        let account = match kept {
            Some(credentials) => {
                let account = terms.builder()?.from_credentials(credentials).await?;
                if known.contact != terms.contact {
                    match account.update_contacts(&contact).await {
                        Ok(()) => Some(account),
                        // It is asked for a new one.
                        Err(error) if Failure::of_talk(&error).is_of_unknown_account() => None,
                        Err(error) => return Err(error.into()),
                    }
                } else {
                    Some(account)
                }
            }
            None => None,
        };
        let account = match account {
            Some(account) => account,
            None if !terms.agrees => {
                let reason = "nobody agreed to the authority's terms of service (acme_agree)";
                return Err(Failure::new(Trouble::Account, reason).of_all().into());
            }
            None => {
                let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
                let (account, credentials) = terms.builder()?.create(&new, directory.clone(), None).await?;
                let credentials = serde_json::to_string(&credentials).map_err(Error::bug)?;
                instance.write(|tables| tables.set_acme_credentials(&directory, Some(&credentials)))?;
                account
            }
        };
        if known.contact != terms.contact {
            instance.write(|tables| {
                let known = tables.acme_account(&directory)?;
                tables.set_acme_account(
                    &directory,
                    &crate::store::AcmeAccount { contact: terms.contact.clone(), ..known },
                )
            })?;
        }
        Ok(Session { context, terms, here, account })
    }

    /// Forgets an account that the authority does not know any more; the next login makes another.
    pub fn forget(context: &Context<'_>, terms: &Terms) -> Result<()> {
        context.instance.write(|tables| tables.set_acme_credentials(&terms.directory, None))
    }

    /// Obtains a certificate for these names, and keeps it.
    pub async fn obtain(&self, names: &[Domain], by: Challenge, app: Option<&AppName>) -> Result<i64, Failed> {
        let order = self.order(names, by, app);
        match tokio::time::timeout(ORDER, order).await {
            Ok(done) => done,
            Err(_) => Err(Failure::new(Trouble::Authority, "the authority has not finished in time").of_all().into()),
        }
    }

    async fn order(&self, names: &[Domain], by: Challenge, app: Option<&AppName>) -> Result<i64, Failed> {
        let identifiers: Vec<Identifier> = names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
        let mut order = match self.account.new_order(&NewOrder::new(&identifiers)).await {
            Ok(order) => order,
            Err(error) => return Err(of_order(&error, names)),
        };
        let set = self.prepare(&mut order, by).await;
        let ready = match &set {
            Ok(_) => self.be_looked_at(&mut order, names, by).await,
            Err(_) => Ok(()),
        };
        // What was set in DNS goes, whatever came of it.
        if let Some(setter) = &self.terms.command {
            for (name, value) in set.as_ref().map(Vec::as_slice).unwrap_or_default() {
                setter.remove(name, value).await;
            }
        }
        set?;
        ready?;
        let key = certificate::new_key()?;
        self.context
            .instance
            .write(|tables| tables.open_acme_order(&self.terms.directory, order.url(), names, &key.serialize_pem()))?;
        settings::die_at("acme-ready");
        self.finish(order, names, &key, true, app).await
    }

    /// Sets what the authority will look for, and waits until it can be seen. Returns what was set in DNS.
    async fn prepare(&self, order: &mut Order, by: Challenge) -> Result<Vec<(String, String)>, Failed> {
        let mut answers = Vec::new();
        let mut records: Vec<(String, String)> = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let kind = match by {
                Challenge::Http => ChallengeType::Http01,
                Challenge::Dns => ChallengeType::Dns01,
            };
            let no_challenge =
                || Failure::new(Trouble::Rejected, "the authority does not offer this way to prove a name");
            let challenge = authorization.challenge(kind).ok_or_else(no_challenge)?;
            let host = match challenge.identifier().identifier {
                Identifier::Dns(host) => host.clone(),
                _ => return Err(Error::bug("an authorization that is not for a name").into()),
            };
            let answer = challenge.key_authorization();
            match by {
                Challenge::Http => answers.push((host, challenge.token.clone(), answer.as_str().to_owned())),
                Challenge::Dns => records.push((format!("_acme-challenge.{host}."), answer.dns_value())),
            }
        }
        if !answers.is_empty() {
            self.context.instance.write(|tables| {
                answers.iter().try_for_each(|(_, token, answer)| tables.add_acme_challenge(token, answer))
            })?;
            proxy::nudge(self.context.instance).await;
            for (host, token, answer) in &answers {
                self.here.answers_itself(host, token, answer).await?;
            }
        }
        for (done, (name, value)) in records.iter().enumerate() {
            let Some(setter) = &self.terms.command else {
                return Err(Error::bug("a record in DNS without a command").into());
            };
            if let Err(failure) = setter.set(name, value, self.here.resolver.as_ref()).await {
                for (name, value) in &records[..=done] {
                    setter.remove(name, value).await;
                }
                return Err(failure.into());
            }
        }
        settings::die_at("acme-prepared");
        Ok(records)
    }

    /// Has the authority look, and waits until it has.
    async fn be_looked_at(&self, order: &mut Order, names: &[Domain], by: Challenge) -> Result<(), Failed> {
        let kind = || match by {
            Challenge::Http => ChallengeType::Http01,
            Challenge::Dns => ChallengeType::Dns01,
        };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Pending
                && let Some(mut challenge) = authorization.challenge(kind())
            {
                challenge.set_ready().await?;
            }
        }
        let ready = order.poll_ready(&POLL).await;
        match &ready {
            Ok(OrderStatus::Ready) => return Ok(()),
            // Another one with these names was ready before.
            Ok(OrderStatus::Valid | OrderStatus::Processing | OrderStatus::Pending | OrderStatus::Invalid) | Err(_) => {
            }
        }
        let mut failed = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            authorization.refresh().await?;
            if authorization.status != AuthorizationStatus::Invalid {
                continue;
            }
            let host = authorization.identifier().to_string();
            let problem = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            let failure = problem
                .map_or_else(|| Failure::new(Trouble::Other, "the authority gave no reason"), Failure::of_problem);
            if let Some(name) = names.iter().find(|name| name.to_string() == host) {
                failed.push((name.clone(), failure.counted()));
            }
        }
        if !failed.is_empty() {
            return Err(Failed::Names(failed));
        }
        match ready {
            Err(error) => Err(of_order(&error, names)),
            Ok(_) => {
                Err(Failure::new(Trouble::Other, "the authority refused the order and gave no reason").counted().into())
            }
        }
    }

    /// Has an order signed, where `signed` says that this was not asked for yet, and keeps the certificate.
    async fn finish(
        &self,
        mut order: Order,
        names: &[Domain],
        key: &KeyPair,
        unsigned: bool,
        app: Option<&AppName>,
    ) -> Result<i64, Failed> {
        let url = order.url().to_owned();
        let signed = async {
            if unsigned {
                order
                    .finalize_csr(&certificate::request(names, key)?)
                    .await
                    .map_err(|error| of_order(&error, names))?;
            }
            settings::die_at("acme-signed");
            order.poll_certificate(&POLL).await.map_err(|error| of_order(&error, names))
        };
        let chain = match signed.await {
            Ok(chain) => chain,
            Err(failed) => {
                // One that only took too long may be had later.
                let goes_on = matches!(&failed, Failed::Order(failure) if failure.trouble == Trouble::Authority);
                if !goes_on {
                    self.context.instance.write(|tables| tables.forget_acme_order(&url))?;
                }
                return Err(failed);
            }
        };
        Ok(self.keep(&url, &chain, key, app)?)
    }

    /// Keeps a certificate, in one transaction with all that it ends.
    fn keep(&self, url: &str, chain: &str, key: &KeyPair, app: Option<&AppName>) -> Result<i64> {
        let certificate = Certificate::read(chain)?;
        let subject = app.map_or(Subject::Server, |app| Subject::App(app.clone()));
        let shown: Vec<String> = certificate.names.iter().map(Domain::to_string).collect();
        let until = crate::clock::rfc3339(certificate.not_after);
        let change = Change::new("certs:obtain", subject).with(format!(
            "{} by {}, until {until}",
            shown.join(", "),
            certificate.issuer
        ));
        self.context.instance.write(|tables| {
            let id = tables.add_certificate(
                NewCertificate {
                    kind: CertificateKind::Acme,
                    app: None,
                    names: &certificate.names,
                    chain,
                    key: &key.serialize_pem(),
                    not_before: certificate.not_before,
                    not_after: certificate.not_after,
                },
                &Actor::Daemon,
            )?;
            tables.forget_acme_order(url)?;
            certificate.names.iter().try_for_each(|name| tables.forget_acme_name(name))?;
            self.context.note(tables, &change, Outcome::Done)?;
            Ok(id)
        })
    }

    /// Takes up the orders whose process died after the certificate was asked for.
    pub async fn take_up(&self) -> Result<Vec<i64>, Failed> {
        let orders = self.context.instance.read(|tables| tables.acme_orders(&self.terms.directory))?;
        let mut taken = Vec::new();
        for kept in orders {
            let Some(key) = kept.key else { continue };
            let key = certificate::read_key(&key)?;
            let forget = || self.context.instance.write(|tables| tables.forget_acme_order(&kept.url));
            let mut order = match self.account.order(kept.url.clone()).await {
                Ok(order) => order,
                Err(error) => {
                    let failure = Failure::of_talk(&error);
                    // An authority that cannot be asked now may know it later.
                    if failure.of_all && !failure.is_of_unknown_account() {
                        return Err(failure.into());
                    }
                    forget()?;
                    continue;
                }
            };
            match order.state().status {
                status @ (OrderStatus::Ready | OrderStatus::Processing | OrderStatus::Valid) => {
                    match self.finish(order, &kept.names, &key, status == OrderStatus::Ready, None).await {
                        Ok(id) => taken.push(id),
                        Err(Failed::Own(error)) => return Err(error.into()),
                        // What is still wrong with it is said of the next order.
                        Err(Failed::Names(_) | Failed::Order(_)) => {}
                    }
                }
                OrderStatus::Pending | OrderStatus::Invalid => forget()?,
            }
        }
        Ok(taken)
    }
}

/// What an authority said of a whole order: of the names that it names, else of all.
fn of_order(error: &instant_acme::Error, names: &[Domain]) -> Failed {
    if let instant_acme::Error::Api(problem) = error {
        let of_names = failure::of_names(problem, names);
        if !of_names.is_empty() {
            return Failed::Names(of_names);
        }
    }
    Failed::Order(Failure::of_talk(error))
}

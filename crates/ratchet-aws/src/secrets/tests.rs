//! What is asked for a secret, what answers mean, and that no value is shown.

use std::sync::{Arc, Mutex};

use aws_sdk_ssm::types::ParameterType;
use ratchet_engine::ports::Secrets;
use ratchet_testkit::contract;

use super::*;
use crate::{answers::config, emulator::Emulator};

/// Secrets, and what is asked for them.
type Asked = (Arc<dyn Secrets>, Arc<Mutex<Vec<String>>>);

/// Both kinds, answered so.
fn both(status: u16, answer: &'static str) -> [Asked; 2] {
    let made = || {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = asked.clone();
        let config = config(move |request| {
            let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            kept.lock().unwrap().push(format!("{target} {body}"));
            (status, answer.to_owned())
        });
        (config, asked)
    };
    let ((managed, asked), (parameters, also_asked)) = (made(), made());
    let managed = ManagedSecrets::new(aws_sdk_secretsmanager::Client::new(&managed), "ratchet/");
    let parameters = ParameterSecrets::new(aws_sdk_ssm::Client::new(&parameters), "/ratchet/");
    for shown in [format!("{managed:?}"), format!("{parameters:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    [(Arc::new(managed), asked), (Arc::new(parameters), also_asked)]
}

#[tokio::test]
async fn a_secret_is_asked_for_by_its_name_under_the_prefix() {
    let answer = r#"{"SecretString": "hunter2", "Parameter": {"Value": "hunter2"}}"#;
    let mut requests = Vec::new();
    for (secrets, asked) in both(200, answer) {
        assert_eq!(secrets.get("API_TOKEN").await.unwrap(), "hunter2");
        for strange in ["", "../other", "a/b", "arn:aws:secretsmanager:us-east-1:1:secret:x", "ä"] {
            let got = secrets.get(strange).await;
            assert!(matches!(&got, Err(SecretError::NotFound(name)) if name == strange));
        }
        requests.extend(asked.lock().unwrap().drain(..));
    }
    insta::assert_snapshot!(requests.join("\n"), @r#"
    secretsmanager.GetSecretValue {"SecretId":"ratchet/API_TOKEN"}
    AmazonSSM.GetParameter {"Name":"/ratchet/API_TOKEN","WithDecryption":true}
    "#);
}

#[tokio::test]
async fn what_is_not_there_is_told_from_what_is_refused() {
    let told = [
        (400, r#"{"__type": "ResourceNotFoundException"}"#, [true, false]),
        (400, r#"{"__type": "ParameterNotFound"}"#, [false, true]),
        (400, r#"{"__type": "AccessDeniedException", "message": "not yours"}"#, [false; 2]),
        (400, r#"{"__type": "ThrottlingException"}"#, [false; 2]),
        (500, r#"{"__type": "InternalServiceError"}"#, [false; 2]),
        (200, "{}", [false; 2]),
        (200, r#"{"SecretBinary": "aHVudGVyMg=="}"#, [false; 2]),
        (200, "hunter2", [false; 2]),
    ];
    for (status, answer, is_missing) in told {
        for ((secrets, _), is_missing) in both(status, answer).into_iter().zip(is_missing) {
            let error = secrets.get("API_TOKEN").await.unwrap_err();
            assert_eq!(matches!(error, SecretError::NotFound(_)), is_missing, "{status} {answer}: {error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_keep_the_contract() {
    let Some(emulator) = Emulator::start().await else { return };
    let config = emulator.config().await;
    let client = aws_sdk_secretsmanager::Client::new(&config);
    contract::secrets(async |secrets| {
        for (name, value) in secrets {
            client.create_secret().name(format!("ratchet/{name}")).secret_string(value).send().await.unwrap();
        }
        Arc::new(ManagedSecrets::new(client.clone(), "ratchet/")) as Arc<dyn Secrets>
    })
    .await;
    let client = aws_sdk_ssm::Client::new(&config);
    contract::secrets(async |secrets| {
        for (name, value) in secrets {
            let put = client.put_parameter().name(format!("/ratchet/{name}")).value(value);
            put.r#type(ParameterType::SecureString).send().await.unwrap();
        }
        Arc::new(ParameterSecrets::new(client.clone(), "/ratchet/")) as Arc<dyn Secrets>
    })
    .await;
}

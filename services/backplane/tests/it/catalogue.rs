//! Catalogues are fetched by their hash.

use backplane::{FetchError, fetch_catalogue, subject};
use bus::{Bus, BusError, InProcessBus};
use bytes::Bytes;
use domain::{ServerId, TenantId};
use prost::Message;
use proto::internal::v1::{CatalogueReply, CatalogueRequest};
use uuid::Uuid;

const SERVER: ServerId = ServerId::from_uuid(Uuid::from_u128(1));

#[tokio::test]
async fn a_catalogue_is_found_or_not_kept() {
    let bus = InProcessBus::default();
    let mut server = bus.serve(subject::catalogue().into(), 4).await.unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            let request = CatalogueRequest::decode(incoming.first).unwrap();
            assert_eq!(request.server, SERVER.to_string());
            let found = request.hash == "ab";
            let catalogue = if found { Bytes::from_static(b"{}") } else { Bytes::new() };
            let reply = CatalogueReply { found, catalogue };
            incoming.exchange.reply(reply.encode_to_vec().into()).await.unwrap();
            incoming.exchange.finish();
        }
    });
    let found = fetch_catalogue(&bus, TenantId::SYSTEM, SERVER, "ab").await;
    assert_eq!(found, Ok(Some(Bytes::from_static(b"{}"))));
    assert_eq!(fetch_catalogue(&bus, TenantId::SYSTEM, SERVER, "cd").await, Ok(None));
}

#[tokio::test]
async fn nobody_keeps_catalogues() {
    let bus = InProcessBus::default();
    let refused = fetch_catalogue(&bus, TenantId::SYSTEM, SERVER, "ab").await;
    assert_eq!(refused, Err(FetchError::Bus(BusError::NoResponders)));
}

//! What an answer says, in short: its error codes. And what APIs are called.

use kafka_protocol::messages::ApiKey;
use onceness_reference::code::Code;

use super::exchange::Exchange;
use crate::wire::answers::rest_of_produced;
use crate::wire::fields::{Fields, Malformed};

/// What Kafka calls an API.
pub fn api_name(api: i16) -> String {
    ApiKey::try_from(api).map_or_else(|()| format!("API {api}"), |key| format!("{key:?}"))
}

/// All APIs that have a name.
pub fn apis() -> impl Iterator<Item = i16> + Clone {
    (0..i16::from(u8::MAX)).filter(|api| ApiKey::try_from(*api).is_ok())
}

impl Exchange {
    /// The error codes in the answer, each once, in order; `Code(0)` is no error. None where there is no answer, or it
    /// cannot be read, or is to a request whose answers are not looked into (fetching and most of administration).
    pub fn codes(&self) -> Option<Vec<Code>> {
        let key = ApiKey::try_from(self.start.api).ok()?;
        let version = self.start.version;
        let flexible = key.response_header_version(version) >= 1;
        let mut fields = Fields::new(self.answer.clone()?, flexible);
        let mut codes = codes(key, version, &mut fields).ok()??;
        codes.sort_unstable();
        codes.dedup();
        Some(codes.into_iter().map(Code).collect())
    }

    /// The offset of the first record, as the answer to a produce has it. None as in [`Exchange::codes`].
    pub fn base_offset(&self) -> Option<i64> {
        let version = self.start.version;
        let flexible = ApiKey::Produce.response_header_version(version) >= 1;
        let mut fields = Fields::new(self.answer.clone()?, flexible);
        let by_id = version >= FIRST_BY_ID;
        let mut base = None;
        by_partition(&mut fields, by_id, |partition| {
            base.get_or_insert(partition.i64()?);
            rest_of_produced(partition, version)
        })
        .ok()?;
        base
    }

    /// The producer id and epoch that an answer to InitProducerId gives. None in any other answer.
    pub fn session(&self) -> Option<(i64, i16)> {
        if self.start.api != ApiKey::InitProducerId as i16 {
            return None;
        }
        let flexible = ApiKey::InitProducerId.response_header_version(self.start.version) >= 1;
        let mut fields = Fields::new(self.answer.clone()?, flexible);
        fields.i32().ok()?;
        let code = fields.i16().ok()?;
        let session = (fields.i64().ok()?, fields.i16().ok()?);
        (code == 0).then_some(session)
    }
}

/// The first version of produce in which topics are named by id.
const FIRST_BY_ID: i16 = 13;

fn codes(key: ApiKey, version: i16, fields: &mut Fields) -> Result<Option<Vec<i16>>, Malformed> {
    // The first version whose answer begins with a throttle time.
    let throttled = match key {
        ApiKey::Produce => i16::MAX,
        ApiKey::JoinGroup => 2,
        ApiKey::OffsetCommit => 3,
        ApiKey::FindCoordinator | ApiKey::Heartbeat | ApiKey::SyncGroup | ApiKey::LeaveGroup => 1,
        _ => 0,
    };
    if version >= throttled {
        fields.i32()?;
    }
    Ok(Some(match key {
        ApiKey::Produce => by_partition(fields, version >= FIRST_BY_ID, |partition| {
            partition.i64()?;
            rest_of_produced(partition, version)
        })?,
        ApiKey::OffsetCommit => by_partition(fields, version >= 10, |_| Ok(()))?,
        ApiKey::TxnOffsetCommit => by_partition(fields, false, |_| Ok(()))?,
        ApiKey::AddPartitionsToTxn if version <= 3 => by_partition(fields, false, |_| Ok(()))?,
        ApiKey::AddPartitionsToTxn => {
            let all = fields.i16()?;
            let each = fields.structs(|txn| {
                txn.text()?;
                by_partition(txn, false, |_| Ok(()))
            })?;
            if all == 0 { each.concat() } else { vec![all] }
        }
        ApiKey::FindCoordinator if version >= 4 => fields.structs(|coordinator| {
            coordinator.text()?;
            coordinator.i32()?;
            coordinator.text()?;
            coordinator.i32()?;
            let code = coordinator.i16()?;
            coordinator.text()?;
            Ok(code)
        })?,
        ApiKey::InitProducerId
        | ApiKey::AddOffsetsToTxn
        | ApiKey::EndTxn
        | ApiKey::FindCoordinator
        | ApiKey::Heartbeat
        | ApiKey::JoinGroup
        | ApiKey::SyncGroup
        | ApiKey::LeaveGroup => vec![fields.i16()?],
        _ => return Ok(None),
    }))
}

/// The code of each partition of each topic, where `rest` reads what follows it.
fn by_partition(
    fields: &mut Fields,
    by_id: bool,
    mut rest: impl FnMut(&mut Fields) -> Result<(), Malformed>,
) -> Result<Vec<i16>, Malformed> {
    let topics = fields.structs(|topic| {
        match by_id {
            true => drop(topic.uuid()?),
            false => drop(topic.text()?),
        }
        topic.structs(|partition| {
            partition.i32()?;
            let code = partition.i16()?;
            rest(partition)?;
            Ok(code)
        })
    })?;
    Ok(topics.concat())
}

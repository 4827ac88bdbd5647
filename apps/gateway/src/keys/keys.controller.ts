import { Body, Controller, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type CreateDataKeyRequest,
  createDataKeyRequest,
  createdDataKey,
  createdKey,
  createKeyRequest,
  type CreateKeyRequest,
  decryptDataKeyRequest,
  type DecryptDataKeyRequest,
  decryptedDataKey,
  describedKey,
  type EncryptDataKeyRequest,
  encryptDataKeyRequest,
  encryptedDataKey,
  keptDataKey,
  keyDeletion,
  type KeyRequest,
  keyRequest,
  listedKeys,
  type ListKeysRequest,
  listKeysRequest,
  scheduleKeyDeletionRequest,
  type ScheduleKeyDeletionRequest,
  switchedKey,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { LeavesNoEvent, TakesNoKey } from '../idempotency/idempotent';
import { KeysService } from './keys.service';

/** Keys that encrypted images are kept under, by the vendor's own calls (backends C1). */
@ApiTags('keys')
@Controller('v1.0/:project_id/kms')
export class KeysController {
  constructor(private readonly service: KeysService) {}

  @Post('create-key')
  @LeavesNoEvent()
  @Permits('kms:cmk:create')
  @Documents({ operation: 'CreateKey', summary: 'Create a key', since: 'v1.0', answer: createdKey })
  create(@Caller() caller: Call, @Body({ schema: createKeyRequest }) body: CreateKeyRequest) {
    return this.service.create(caller, body);
  }

  @Post('describe-key')
  @Permits('kms:cmk:get')
  @Documents({ operation: 'ListKeyDetail', summary: 'Show a key', since: 'v1.0', answer: describedKey })
  describe(@Caller() caller: Call, @Body({ schema: keyRequest }) body: KeyRequest) {
    return this.service.describe(caller, body);
  }

  @Post('list-keys')
  @Permits('kms:cmk:list')
  @Documents({ operation: 'ListKeys', summary: 'List keys', since: 'v1.0', answer: listedKeys })
  list(@Caller() caller: Call, @Body({ schema: listKeysRequest }) body: ListKeysRequest) {
    return this.service.list(caller, body);
  }

  @Post('enable-key')
  @LeavesNoEvent()
  @Permits('kms:cmk:enable')
  @Documents({ operation: 'EnableKey', summary: 'Enable a key', since: 'v1.0', answer: switchedKey })
  enable(@Caller() caller: Call, @Body({ schema: keyRequest }) body: KeyRequest) {
    return this.service.enable(caller, body);
  }

  @Post('disable-key')
  @LeavesNoEvent()
  @Permits('kms:cmk:disable')
  @Documents({
    operation: 'DisableKey',
    summary: 'Disable a key: whatever is kept under it cannot be read meanwhile',
    since: 'v1.0',
    answer: switchedKey,
  })
  disable(@Caller() caller: Call, @Body({ schema: keyRequest }) body: KeyRequest) {
    return this.service.disable(caller, body);
  }

  @Post('schedule-key-deletion')
  @LeavesNoEvent()
  @Permits('kms:cmk:update')
  @Documents({ operation: 'DeleteKey', summary: 'Delete a key after a while', since: 'v1.0', answer: keyDeletion })
  scheduleDeletion(
    @Caller() caller: Call,
    @Body({ schema: scheduleKeyDeletionRequest }) body: ScheduleKeyDeletionRequest,
  ) {
    return this.service.scheduleDeletion(caller, body);
  }

  @Post('cancel-key-deletion')
  @LeavesNoEvent()
  @Permits('kms:cmk:update')
  @Documents({
    operation: 'CancelKeyDeletion',
    summary: 'Keep a key that was to be deleted',
    since: 'v1.0',
    answer: keyDeletion,
  })
  cancelDeletion(@Caller() caller: Call, @Body({ schema: keyRequest }) body: KeyRequest) {
    return this.service.cancelDeletion(caller, body);
  }

  @Post('create-datakey')
  @TakesNoKey('a secret goes through it, and no answer that holds one is kept')
  @Permits('kms:dek:create')
  @Documents({ operation: 'CreateDatakey', summary: 'Make a data key', since: 'v1.0', answer: createdDataKey })
  createDataKey(@Caller() caller: Call, @Body({ schema: createDataKeyRequest }) body: CreateDataKeyRequest) {
    return this.service.createDataKey(caller, body);
  }

  @Post('create-datakey-without-plaintext')
  @Permits('kms:dek:create')
  @Documents({
    operation: 'CreateDatakeyWithoutPlaintext',
    summary: 'Make a data key that is not shown',
    since: 'v1.0',
    answer: keptDataKey,
  })
  createDataKeyWithoutPlaintext(
    @Caller() caller: Call,
    @Body({ schema: createDataKeyRequest }) body: CreateDataKeyRequest,
  ) {
    return this.service.createDataKeyWithoutPlaintext(caller, body);
  }

  @Post('encrypt-datakey')
  @TakesNoKey('a secret goes through it, and no answer that holds one is kept')
  @Permits('kms:dek:crypto')
  @Documents({ operation: 'EncryptDatakey', summary: 'Wrap a data key', since: 'v1.0', answer: encryptedDataKey })
  encryptDataKey(@Caller() caller: Call, @Body({ schema: encryptDataKeyRequest }) body: EncryptDataKeyRequest) {
    return this.service.encryptDataKey(caller, body);
  }

  @Post('decrypt-datakey')
  @TakesNoKey('a secret goes through it, and no answer that holds one is kept')
  @Permits('kms:dek:crypto')
  @Documents({
    operation: 'DecryptDatakey',
    summary: 'Open a wrapped data key',
    since: 'v1.0',
    answer: decryptedDataKey,
  })
  decryptDataKey(@Caller() caller: Call, @Body({ schema: decryptDataKeyRequest }) body: DecryptDataKeyRequest) {
    return this.service.decryptDataKey(caller, body);
  }
}

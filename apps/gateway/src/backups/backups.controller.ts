import { Body, Controller, Delete, Get, Param, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type BackupAnswer,
  backupAnswer,
  type BackupList,
  backupList,
  type CheckpointAnswer,
  checkpointAnswer,
  type CheckpointItemAnswer,
  checkpointItemAnswer,
  type CreateCheckpointRequest,
  createCheckpointRequest,
  type CreateVaultRequest,
  createVaultRequest,
  type ListBackupsQuery,
  listBackupsQuery,
  type VaultAnswer,
  vaultAnswer,
  type VaultList,
  vaultList,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { CanDryRun } from '../http/dry-run';
import { LeavesNoEvent } from '../idempotency/idempotent';
import { BackupsService } from './backups.service';

@ApiTags('backups of servers')
@Controller()
export class BackupsController {
  constructor(private readonly service: BackupsService) {}

  @Get('v3/:project_id/backups')
  @Permits('cbr:backups:list')
  @Documents({ operation: 'ListBackups', summary: 'List backups of servers', since: 'v3', answer: backupList })
  list(@Caller() caller: Call, @Query({ schema: listBackupsQuery }) query: ListBackupsQuery): Promise<BackupList> {
    return this.service.list(caller, query);
  }

  @Get('v3/:project_id/backups/:backup_id')
  @Permits('cbr:backups:get')
  @Documents({ operation: 'ShowBackup', summary: 'Show a backup of a server', since: 'v3', answer: backupAnswer })
  show(@Caller() caller: Call, @Param('backup_id') id: string): Promise<BackupAnswer> {
    return this.service.show(caller, id);
  }

  @Delete('v3/:project_id/backups/:backup_id')
  @Permits('cbr:backups:delete')
  @Documents({ operation: 'DeleteBackup', summary: 'Delete a backup of a server', since: 'v3', status: 204 })
  remove(@Caller() caller: Call, @Param('backup_id') id: string): Promise<void> {
    return this.service.remove(caller, id);
  }

  @Get('v3/:project_id/vaults')
  @Permits('cbr:vaults:list')
  @Documents({ operation: 'ListVaults', summary: 'List vaults', since: 'v3', answer: vaultList })
  listVaults(@Caller() caller: Call): Promise<VaultList> {
    return this.service.listVaults(caller);
  }

  @Post('v3/:project_id/vaults')
  @LeavesNoEvent()
  @Permits('cbr:vaults:create')
  @Documents({ operation: 'CreateVault', summary: 'Create a vault for backups', since: 'v3', answer: vaultAnswer })
  createVault(
    @Caller() caller: Call,
    @Body({ schema: createVaultRequest }) body: CreateVaultRequest,
  ): Promise<VaultAnswer> {
    return this.service.createVault(caller, body);
  }

  @Get('v3/:project_id/vaults/:vault_id')
  @Permits('cbr:vaults:get')
  @Documents({ operation: 'ShowVault', summary: 'Show a vault', since: 'v3', answer: vaultAnswer })
  showVault(@Caller() caller: Call, @Param('vault_id') id: string): Promise<VaultAnswer> {
    return this.service.showVault(caller, id);
  }

  @Post('v3/:project_id/checkpoints')
  @CanDryRun()
  @Permits('cbr:vaults:backup')
  @Documents({ operation: 'CreateCheckpoint', summary: 'Back a server up', since: 'v3', answer: checkpointAnswer })
  createCheckpoint(
    @Caller() caller: Call,
    @Body({ schema: createCheckpointRequest }) body: CreateCheckpointRequest,
  ): Promise<CheckpointAnswer> {
    return this.service.createCheckpoint(caller, body);
  }

  // The contract ties no action to it; who may see the backup may see how it came about.
  @Get('v3/:project_id/checkpoints/:checkpoint_id')
  @Permits('cbr:backups:get')
  @Documents({ operation: 'ShowCheckpoint', summary: 'Show a checkpoint', since: 'v3', answer: checkpointAnswer })
  showCheckpoint(@Caller() caller: Call, @Param('checkpoint_id') id: string): Promise<CheckpointAnswer> {
    return this.service.showCheckpoint(caller, id);
  }

  @Get('v1/:project_id/checkpoint_items/:checkpoint_item_id')
  @Permits('csbs:backup:get')
  @Documents({
    operation: 'ShowCheckpointItem',
    summary: 'Show a backup of the retired service CSBS',
    since: 'v1',
    answer: checkpointItemAnswer,
  })
  showCheckpointItem(@Caller() caller: Call, @Param('checkpoint_item_id') id: string): Promise<CheckpointItemAnswer> {
    return this.service.showCsbs(caller, id);
  }
}

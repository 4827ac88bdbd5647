import { Body, Controller, Delete, Get, Head, Headers, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Principal } from '@ims/access';
import { type IssueTokenRequest, issueTokenRequest, tokenDocument } from '@ims/contract';
import { AccountCaller, ForAccount, Public } from '../access/permits';
import type { Answer } from '../http/answer';
import { Documents } from '../http/documents';
import { TakesNoKey } from '../idempotency/idempotent';
import { TokensService } from './tokens.service';

@ApiTags('tokens')
@Controller('v3/auth/tokens')
export class TokensController {
  constructor(private readonly service: TokensService) {}

  @Post()
  @Public()
  @TakesNoKey('its answer is a secret, and nobody knows yet whose call it is')
  @Documents({
    operation: 'KeystoneCreateToken',
    summary: 'Issue a token',
    since: 'v3',
    status: 201,
    answer: tokenDocument,
  })
  issue(
    @Body({ schema: issueTokenRequest }) request: IssueTokenRequest,
    @Headers('x-auth-token') authToken: string | undefined,
    @Query('nocatalog') noCatalog: string | undefined,
  ): Promise<Answer> {
    return this.service.issue(request, authToken, noCatalog);
  }

  @Head()
  @ForAccount()
  @Documents({ operation: 'KeystoneCheckToken', summary: 'Check a token', since: 'v3' })
  check(@AccountCaller() caller: Principal, @Headers('x-subject-token') subject: string | undefined): Promise<Answer> {
    return this.service.check(caller, subject);
  }

  @Get()
  @ForAccount()
  @Documents({ operation: 'KeystoneValidateToken', summary: 'Show a token', since: 'v3', answer: tokenDocument })
  show(
    @AccountCaller() caller: Principal,
    @Headers('x-subject-token') subject: string | undefined,
    @Query('nocatalog') noCatalog: string | undefined,
  ): Promise<Answer> {
    return this.service.show(caller, subject, noCatalog);
  }

  @Delete()
  @ForAccount()
  @Documents({ operation: 'KeystoneRevokeToken', summary: 'End a token', since: 'v3', status: 204 })
  revoke(@AccountCaller() caller: Principal, @Headers('x-subject-token') subject: string | undefined): Promise<void> {
    return this.service.revoke(caller, subject);
  }
}

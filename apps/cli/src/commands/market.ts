import Table from 'cli-table3';
import { Command, Option } from 'commander';
import {
  LISTING_STATUSES,
  type MarketActionRequest,
  type MarketListing,
  marketListing,
  marketListings,
} from '@ims/contract';
import { GatewayClient } from '../gateway-client';
import { output } from '../output';

interface MarketOptions {
  data?: string;
  output: 'table' | 'json';
  asOperator?: boolean;
  status?: string;
  productCode?: string;
  reason?: string;
}

async function list({ status, ...options }: MarketOptions): Promise<void> {
  const gateway = await GatewayClient.connect(options);
  const { listings } = await gateway.json(marketListings, 'GET', '/v1/market/listings', { query: { status } });
  show(listings, options);
}

const act =
  (operation: MarketActionRequest['operation']) =>
  async (image: string, { productCode, reason, ...options }: MarketOptions): Promise<void> => {
    const gateway = await GatewayClient.connect(options);
    const path = `/v1/cloudimages/${encodeURIComponent(image)}/market/action`;
    const body = { operation, product_code: productCode, reason };
    show([await gateway.json(marketListing, 'POST', path, { body })], options);
  };

function show(listings: readonly MarketListing[], { output: form }: MarketOptions): void {
  if (form === 'json') {
    output.data(JSON.stringify(listings, null, 2));
    return;
  }
  const table = new Table({
    head: ['image', 'name', 'owner', 'product', 'status', 'approved by', 'reason'],
    style: { head: [], border: [] },
  });
  for (const { image_id, image_name, owner, product_code, status, approved_by, reason } of listings)
    table.push([image_id, image_name, owner, product_code, status, approved_by.join(', '), reason ?? '']);
  output.data(table.toString());
}

/** The commands about the marketplace. */
export function marketCommand(): Command {
  const market = new Command('market').description('sell images: ask, approve, refuse, withdraw');
  market.addCommand(
    named('list', 'what is sold or is to be sold')
      .addOption(new Option('--status <status>', 'of this status alone').choices(LISTING_STATUSES))
      .action(list),
  );
  market.addCommand(
    ofImage('publish', 'ask for an image to be sold')
      .option('--product-code <code>', 'what its price goes by; made when left out')
      .action(act('publish')),
  );
  market.addCommand(ofImage('approve', 'approve it, as its provider or as the market').action(act('approve')));
  market.addCommand(ofImage('refuse', 'refuse what was asked').option('--reason <text>', 'why').action(act('refuse')));
  market.addCommand(
    ofImage('withdraw', 'take it off the market').option('--reason <text>', 'why').action(act('withdraw')),
  );
  return market;
}

const ofImage = (name: string, description: string): Command =>
  named(name, description).argument('<image>', 'id of it');

const named = (name: string, description: string): Command =>
  new Command(name)
    .description(description)
    .option('--as-operator', 'as who runs the market', false)
    .addOption(new Option('--data <dir>', 'directory of the instance; else the environment says which service'))
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['table', 'json']).default('table'));

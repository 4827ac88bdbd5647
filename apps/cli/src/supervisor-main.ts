import { runSupervisor } from './stack/supervisor';

void runSupervisor();

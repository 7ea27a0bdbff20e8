// What Airflow's UI loads: a plain module on the React of the host.
import { DagJobsPage, RunJobsPage } from "./compare_page.js";
import { JobPage } from "./job_page.js";
import { JobsPage } from "./jobs_page.js";

// Airflow looks a page up by its name, and loads this module once for all of them.
globalThis["Fine-tune job"] = JobPage;
globalThis["Compare jobs"] = RunJobsPage;
globalThis["Fine-tuning"] = DagJobsPage;
globalThis["Fine-tune jobs"] = JobsPage;
globalThis.AirflowPlugin = JobPage;
